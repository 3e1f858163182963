"""Run lengths of brush strokes, as the encoder of Label Studio's front end writes them, and written by hand."""

import json

import numpy as np
import pytest
from drawn_exports import EXPORTS

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations.label_studio_rle import count_values, decode_alpha

STROKES = json.loads((EXPORTS / 'label_studio/strokes.json').read_text())


@pytest.mark.parametrize('name', STROKES)
def test_strokes_of_the_front_end(name):
    width, height, rle, alpha = (STROKES[name][k] for k in ('width', 'height', 'rle', 'alpha'))
    expected = np.reshape(alpha, (height, width)) > 0
    assert expected.any() and not expected.all()
    assert count_values(rle, name) == 4 * width * height
    assert np.array_equal(decode_alpha(rle, width, height, name), expected)


def written(*fields: tuple[int, int]) -> list[int]:
    """Bytes of numbers, each with its bits."""
    bits = ''.join(f'{value:0{size}b}' for value, size in fields)
    bits += '0' * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def head(total: int) -> list[tuple[int, int]]:
    """Values of 3 bits, lengths of 2, 4, 8 and 16 bits."""
    return [(total, 32), (2, 5), (1, 4), (3, 4), (7, 4), (15, 4)]


def test_a_stream_written_by_hand():
    literal = [(0, 1), (1, 2), (6, 4), *((v, 3) for v in (1, 2, 3, 0, 4, 5, 6))]  # 7 values
    run = [(1, 1), (3, 2), (4, 16), (7, 3)]  # 5 times 7
    alphas = [0, 7, 7]  # every fourth of 1 2 3 0, 4 5 6 7, 7 7 7 7
    mask = decode_alpha(written(*head(12), *literal, *run), 3, 1, 'by hand')
    assert mask.tolist() == [[alpha > 0 for alpha in alphas]]


def test_more_values_than_announced():
    run = [(1, 1), (2, 2), (200, 8), (7, 3)]
    with pytest.raises(SetupError, match='by hand .* damaged .more values than announced.'):
        decode_alpha(written(*head(4), *run), 1, 1, 'by hand')


def test_a_stream_that_ends_early():
    with pytest.raises(SetupError, match='it ends early'):
        decode_alpha(STROKES['square']['rle'][:-20], 32, 24, 'cut')
    with pytest.raises(SetupError, match='it ends early'):
        count_values([0, 0], 'cut')


def test_another_size():
    with pytest.raises(SetupError, match='of 3072 values, .* 24 x 24 are 2304'):
        decode_alpha(STROKES['square']['rle'], 24, 24, 'square')
