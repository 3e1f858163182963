"""Some of the bad inputs, in the test's process; ``python tests/fuzz --all`` runs all of them, each in one of its own."""

import re

import pytest

from .grammar import Case, chosen, make_case, slots
from .ground import sound_case
from .running import Outcome, judge, run_here, snapshot

EVERY = slots()


def shown(number: int) -> str:
    return f'{number}, {EVERY[number].area}, {EVERY[number].name}'


@pytest.mark.parametrize('number', chosen(), ids=shown)
def test_one_sentence_and_nothing_else(number, tmp_path):
    outcome = run_here(make_case(number, tmp_path))
    assert not outcome.problems, f'{outcome.problems}\n{outcome.said}'


def test_there_are_enough_and_all_areas_occur():
    assert len(EVERY) >= 200
    assert {EVERY[number].area for number in chosen()} == {kind.area for kind in EVERY}


@pytest.mark.parametrize('number', [0, len(EVERY) // 2])
def test_an_input_follows_from_its_number(number, tmp_path):
    found = []
    for name in ('one', 'other'):
        (tmp_path / name).mkdir()
        case = make_case(number, tmp_path / name)
        # runs of one process have different names
        named = re.sub(r"'fuzz_\d+'", "''", str(case.texts))
        found.append((case.command, case.says, named, set(snapshot(case.folder))))
    assert found[0] == found[1]


def test_a_project_without_a_mistake_is_no_bad_input(tmp_path):
    case = sound_case('own folders', tmp_path)
    outcome = run_here(case)
    assert outcome.status == 0, outcome.said
    assert 'exit status 0, expected 2' in outcome.problems
    assert any(problem.startswith('it wrote') for problem in outcome.problems)


def test_what_is_no_usable_sentence(tmp_path):
    case = Case(tmp_path, None, says=('a.png', re.compile(r'\d+ bytes')))

    def problems(said: str, status: int | None = 2, changes=()) -> str:
        return ' '.join(judge(case, Outcome(status, said, 0.0, list(changes))).problems)

    good = 'error: image a.png (3 bytes) cannot be decoded (it is empty); replace the file\n'
    assert problems(good) == ''
    assert problems(f'a warning\n{good}') == ''
    assert 'exit status 1' in problems(good, status=1)
    assert 'it wrote +run' in problems(good, changes=['+run'])
    assert 'it hung' in problems('', status=None)
    assert 'lines that begin with error' in problems(f'{good}and so on\n')
    assert "does not say 'a.png'" in problems('error: image b.png (3 bytes) is empty; replace it')
    assert 'how to fix it' in problems('error: image a.png (3 bytes) is empty')
    assert 'shows' in problems("error: a.png (3 bytes): KeyError: 'x'; replace it")
