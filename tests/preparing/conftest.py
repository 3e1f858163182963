from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder 'set' with three files and a hidden folder."""
    root = tmp_path / 'raw/set'
    (root / 'deep/.hidden').mkdir(parents=True)
    (root / 'a.txt').write_bytes(b'a')
    (root / 'deep/b.txt').write_bytes(b'b' * 3000)
    (root / 'deep/c.bin').write_bytes(b'')
    return root
