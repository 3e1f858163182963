"""Reading a data file: keys that stand twice, and texts that are none."""

import pytest

from mmseg_semi.data.description import read_description
from mmseg_semi.errors import SetupError


@pytest.mark.parametrize(
    ('name', 'text', 'sentence'),
    [
        (
            'a.yaml',
            'val: 1\nclasses: {a: 0, b: 1, a: 2}\n',
            "line 2: the key 'a' stands twice, first in line 2",
        ),
        (
            'a.yaml',
            'val: 1\nx: 2\nval: 3\nval: 4\n',
            "line 3: the key 'val' stands twice, first in line 1",
        ),
        ('a.json', '{"val": 1, "val": 2}', "the key 'val' stands twice in one object"),
        ('a.json', '[' * 100_000, 'nested too deep'),
        ('a.yaml', 'größe: 1'.encode('latin-1'), 'no text in UTF-8 .*0xf6.* save it as UTF-8'),
        ('a.yaml', '- 1\n', r'no keys and values \(but a list\)'),
        ('a.yaml', '# nothing\n', r'no keys and values \(it is empty\)'),
    ],
)
def test_one_sentence(tmp_path, name, text, sentence):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SetupError, match=sentence) as caught:
        read_description(path)
    assert str(path) in str(caught.value)


def test_what_is_no_key_twice(tmp_path):
    """Equal keys of two places, keys that differ in type, and YAML's merging."""
    path = tmp_path / 'a.yaml'
    path.write_text('a: &base {x: 1, y: 2}\nb:\n  <<: *base\n  x: 3\n1: one\n"1": text\n')
    assert read_description(path) == {
        'a': dict(x=1, y=2),
        'b': dict(x=3, y=2),
        1: 'one',
        '1': 'text',
    }
