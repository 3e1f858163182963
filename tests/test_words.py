"""The project uses the field's words: a short list of private ones stays out of code, messages and documents."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name('private_words.txt')
FOLDERS = ('mmseg_semi', 'configs', 'tools', 'projects', 'docs', 'tests', 'findings')
SUFFIXES = ('.py', '.md', '.sh', '.txt')


def read_words() -> list[tuple[re.Pattern, str]]:
    lines = [line for line in LIST.read_text().splitlines() if line and not line.startswith('#')]
    pairs = [line.split('\t') for line in lines]
    return [(re.compile(pattern, re.IGNORECASE), better) for pattern, better in pairs]


def find_words(text: str) -> list[tuple[int, str, str]]:
    """(line number, found word, the field's word) of every private word in a text."""
    words = read_words()
    return [
        (number, match[0], better)
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, better in words
        if (match := pattern.search(line))
    ]


def written_files() -> list[Path]:
    files = [path for path in ROOT.glob('*.md')]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob('*') if path.suffix in SUFFIXES]
    lists = ROOT / 'configs/splits'
    return [path for path in files if path != LIST and lists not in path.parents]


@pytest.mark.parametrize(
    'sentence',
    ['Mend the key.', 'values for people', 'a sure pixel', 'The network answers.', 'there twice'],
)
def test_the_list_finds_private_words(sentence):
    assert find_words(f'First line.\n{sentence}')[0][0] == 2


@pytest.mark.parametrize('sentence', ['Fix the key.', 'a recommended amendment', 'The measure.'])
def test_the_list_leaves_other_words_alone(sentence):
    assert not find_words(sentence)


def test_no_file_uses_a_private_word():
    found = [
        f'{path.relative_to(ROOT)}:{number}: {word!r}: write {better}'
        for path in written_files()
        for number, word, better in find_words(path.read_text(encoding='utf-8'))
        if path != Path(__file__).resolve()
    ]
    assert not found, '\n'.join(found)
