"""Pictures of a test: image, truth and prediction side by side."""

from pathlib import Path

import numpy as np

from mmseg_semi.labels import IGNORE
from mmseg_semi.runtime.painted_predictions import common_folder, draw, to_picture

PALETTE = [(0, 0, 0), (200, 0, 0)]


def test_the_page_holds_image_truth_and_prediction():
    picture = np.full((40, 60, 3), 100, np.uint8)
    truth, prediction = np.zeros((40, 60), int), np.ones((40, 60), int)
    page = draw(picture, truth, prediction, ['ground', 'thing'], PALETTE)
    colours = {tuple(colour) for colour in page.reshape(-1, 3)}
    # the image; half black (truth) and half red (prediction) over it; both colours of the legend
    assert {(100, 100, 100), (50, 50, 50), (150, 50, 50), (0, 0, 0), (200, 0, 0)} <= colours
    area = (page == (50, 50, 50)).all(axis=-1).sum()
    assert area >= 40 * 60 and (page == (150, 50, 50)).all(axis=-1).sum() >= 40 * 60
    without = draw(picture, None, prediction, ['ground', 'thing'], PALETTE)
    assert without.shape[1] < page.shape[1]
    assert not (without[:60] == (50, 50, 50)).all(axis=-1).any()


def test_ignored_pixels_are_striped():
    page = draw(
        np.zeros((40, 60, 3), np.uint8),
        np.full((40, 60), IGNORE),
        np.zeros((40, 60), int),
        ['a', 'b'],
        PALETTE,
    )
    assert {(100, 100, 100), (118, 118, 118)} <= {tuple(c) for c in page.reshape(-1, 3)}


def test_what_the_pipeline_gives_becomes_a_picture():
    bgr = np.stack([np.full((2, 3), value) for value in (10, 20, 300)])
    assert to_picture(bgr, (2, 3))[0, 0].tolist() == [255, 20, 10]
    assert to_picture(bgr[:1], (4, 6)).shape == (4, 6, 3)
    assert to_picture(bgr[:1], (2, 3))[0, 0].tolist() == [10, 10, 10]
    assert to_picture(np.zeros((5, 2, 3)), (2, 3)).shape == (2, 3, 3)


def test_the_common_folder_keeps_names_apart():
    paths = [Path('/d/a/x.png'), Path('/d/b/x.png'), Path('/d/b/c/y.png')]
    assert common_folder(paths) == Path('/d')
    assert common_folder(paths[:1]) == Path('/d/a')
