"""What a benchmark of ``tools/benchmark.py`` is, and how it finds those of the methods.

A method declares its benchmarks in its own folder,
``mmseg_semi/methods/<name>/benchmarks/__init__.py``:

    BENCHMARKS     name -> :class:`Benchmark`, measured by ``--measure <name>``
    prepare(model) optional; brings a new model's state to that of the middle of a run, such as a
                   full memory bank, before a training step is measured
"""

import argparse
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import torch
from mmengine.config import Config
from mmengine.runner import Runner


class Step(Protocol):
    """A config's training step, ready to run."""

    runner: Runner
    device: torch.device
    about: dict[str, Any]
    """config, batch (images per source), crop (height, width), iteration."""


class Subject(Protocol):
    """One config that a benchmark measures."""

    args: argparse.Namespace
    cfg: Config

    @property
    def step(self) -> Step:
        """The training step; built at the first access."""


@dataclass(frozen=True)
class Benchmark:
    """One measurement, chosen by ``--measure``."""

    summary: str
    """One line for ``--help``."""
    measure: Callable[[Subject], dict[str, Any]]
    """Returns every number as plain types, for ``--json``. Raises SetupError for a config without
    the measured part."""
    report: Callable[[dict[str, Any]], None]
    """Prints what ``measure`` returned."""
    add_arguments: Callable[[argparse.ArgumentParser], Any] | None = None
    """Adds the benchmark's own options to the parser."""


def method_benchmarks() -> list[ModuleType]:
    """The ``benchmarks`` packages of all methods."""
    from mmseg_semi import methods

    names = [module.name for module in pkgutil.iter_modules(methods.__path__) if module.ispkg]
    packages = [f'{methods.__name__}.{name}' for name in names]
    return [
        importlib.import_module(f'{package}.benchmarks')
        for package in packages
        if importlib.util.find_spec(f'{package}.benchmarks')
    ]
