"""Drawing functions: what a colour in a picture means."""

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_semi import tiny_preprocessor

from mmseg_semi.labels import IGNORE
from mmseg_semi.runtime.pictures import (
    default_palette,
    paint_labels,
    paint_values,
    sheet,
    shrink,
    undo_normalization,
)


def test_normalisation_is_undone_exactly():
    init_default_scope('mmseg')
    loaded = torch.randint(0, 256, (2, 3, 6, 5), dtype=torch.uint8)  # BGR, as mmcv loads
    for swap in (True, False):
        preprocessor = MODELS.build(tiny_preprocessor() | dict(bgr_to_rgb=swap))
        samples = [SegDataSample(), SegDataSample()]
        batch = preprocessor({'inputs': list(loaded), 'data_samples': samples}, training=False)
        pictures = undo_normalization(
            batch['inputs'], preprocessor.mean, preprocessor.std, is_bgr=not swap
        )
        for picture, image in zip(pictures, loaded, strict=True):
            assert np.array_equal(picture, image.permute(1, 2, 0).numpy()[..., ::-1])
    raw = undo_normalization(loaded.float(), None, None)
    assert np.array_equal(raw[0], loaded[0].permute(1, 2, 0).numpy())


def test_labels_have_their_colours_ignored_stripes_and_black_padding():
    palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    labels = torch.arange(64).view(8, 8) % 4
    labels[labels == 3] = IGNORE
    valid = torch.ones(8, 8, dtype=torch.bool)
    valid[:, 6:] = False
    picture = paint_labels(labels, palette, valid)
    greys = set()
    for row in range(8):
        for column in range(8):
            colour, label = tuple(picture[row, column]), int(labels[row, column])
            if column >= 6:
                assert colour == (0, 0, 0)
            elif label < 3:
                assert colour == palette[label]
            else:
                assert colour[0] == colour[1] == colour[2]
                greys.add(colour[0])
    assert greys == {200, 235}


def test_values_are_dark_below_and_bright_above():
    picture = paint_values(torch.tensor([[-1.0, 0.0, 0.25, 0.5, 1.0, 9.0]]))
    light = picture.astype(float).sum(axis=2)[0]
    assert light[0] == light[1] < light[2] < light[3] < light[4] == light[5]


def test_default_colours_differ_and_none_is_grey():
    palette = default_palette(21)
    assert len(set(palette)) == 21
    assert all(max(c) - min(c) > 50 for c in palette)


def test_a_sheet_holds_every_picture_at_its_place():
    red, blue = np.zeros((10, 30, 3), np.uint8), np.zeros((20, 15, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    page = sheet([[red, blue], [blue]])
    is_red = (page == (255, 0, 0)).all(axis=2)
    is_blue = (page == (0, 0, 255)).all(axis=2)
    assert is_red.sum() == 300 and is_blue.sum() == 600
    assert is_red[4:14, 4:34].all() and is_blue[4:24, 38:53].all() and is_blue[28:48, 4:19].all()
    assert page.shape == (52, 57, 3)
    titled = sheet([[red, blue]], ['a', 'a title that is much too long'], ['x.png'])
    assert titled.shape[0] > 28 and (titled == (255, 0, 0)).all(axis=2).sum() == 300
    assert titled.shape[1] == 57


def test_shrinking_keeps_the_shape_and_the_labels():
    picture = paint_labels(torch.arange(2).repeat(40, 10), [(9, 0, 0), (0, 9, 0)])
    small = shrink(picture, 10, smooth=False)
    assert small.shape == (10, 5, 3)
    assert {tuple(c) for c in small.reshape(-1, 3)} <= {(9, 0, 0), (0, 9, 0)}
    assert shrink(picture, 40) is picture
