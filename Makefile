# Everything happens in .venv/, which is created on the first call and anew when requirements.txt or
# constraints.txt change.
#
#   make demo    train supervised-only and DDFP on generated scenes, compare them in a table and pictures
#   make test    the whole test suite          (ARGS="-k resume -x" goes to pytest)
#   make lint    ruff, as in .ci/run           (make format writes what it asks for)
#   make docs    the documentation site, in site/
#   make setup   the environment alone
#
# PYTHON=python3.12 chooses another interpreter. A Linux machine without an NVIDIA GPU downloads
# 2 GB less with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.

PYTHON ?= python3
ARGS ?=
VENV := .venv
RUN := $(VENV)/bin/python
WANTED := $(shell cat requirements.txt constraints.txt | cksum | tr ' ' '-')
INSTALLED := $(VENV)/.requirements-$(WANTED)
PACKAGE := $(VENV)/.package-$(shell cksum < pyproject.toml | tr ' ' '-')

.PHONY: help demo test lint format docs setup freeze clean

help:
	@sed -n 's/^#   //p' Makefile

demo: setup
	$(RUN) tools/quickstart.py $(ARGS)

# Four workers at most: each imports the whole stack.
test: setup
	$(RUN) -m pytest -n auto --maxprocesses 4 $(ARGS)

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: setup
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# Strict: a link to nowhere or a page outside of the navigation fails. The variable silences an announcement.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet

setup: $(INSTALLED) $(PACKAGE)

# No prerequisites: the name holds their checksum, and a fresh checkout has fresh times.
$(INSTALLED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: $(PYTHON) is `$(PYTHON) --version 2>&1 || true`, expected Python 3.11 or newer;" \
	       "name one with: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	rm -rf $(VENV)
	@# Debian keeps ensurepip in a package of its own; the pip outside then fills the environment.
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(RUN) install pip; }
	$(RUN) -m pip install -r requirements.txt -c constraints.txt
	@touch $@

$(PACKAGE): $(INSTALLED)
	$(RUN) -m pip install --no-deps --editable .
	@rm -f $(VENV)/.package-*
	@touch $@

freeze: setup
	@{ echo "# The exact versions that the tests run on, for Python >= 3.11. Regenerate: make freeze"; \
	  $(RUN) -m pip freeze --exclude-editable --exclude mmseg_semi | sed 's/+cpu$$//'; } > constraints.tmp
	mv constraints.tmp constraints.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache site
