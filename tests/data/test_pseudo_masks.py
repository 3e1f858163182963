"""Pseudo-masks beside images, and Random Erasing."""

import numpy as np
import pytest

from mmseg_semi.data import LoadPseudoMask, RandomErasing
from mmseg_semi.data.transforms import save_mask
from mmseg_semi.errors import SetupError


def test_a_mask_stands_below_the_path_of_its_image(tmp_path):
    labels = np.array([[0, 1], [255, 2]], np.uint8)
    save_mask(tmp_path / 'x/a.png', labels)
    load = LoadPseudoMask(str(tmp_path), 3, images='/data/images')
    results = load(dict(img_path='/data/images/x/a.jpg', img=np.zeros((2, 2, 3)), seg_fields=[]))
    assert results['gt_given_map'].tolist() == labels.tolist()
    assert results['seg_fields'] == ['gt_given_map']
    with pytest.raises(SetupError, match=r'b.jpg has no pseudo-mask .*b.png \(1 of 2 are missing'):
        load.check_paths(['/data/images/x/a.jpg', '/data/images/x/b.jpg'], 'unlabeled')
    with pytest.raises(
        SetupError, match='folder nowhere of LoadPseudoMask does not exist; .*selec'
    ):
        LoadPseudoMask('nowhere', 3).check_paths(['a.jpg'], 'unlabeled')


def test_without_a_folder_images_have_no_mask():
    results = dict(img_path='a.jpg', img=np.zeros((2, 2, 3)))
    assert 'gt_given_map' not in LoadPseudoMask(num_classes=3)(results)
    LoadPseudoMask(num_classes=3).check_paths(['a.jpg'], 'unlabeled')


def test_a_box_is_erased():
    erase = RandomErasing(prob=1.0)
    image = np.full((40, 60, 3), 7, np.uint8)
    shares, aspects = [], []
    np.random.seed(0)
    for _ in range(300):
        maps = {key: np.zeros((40, 60), np.uint8) for key in ('gt_given_map', 'gt_valid_map')}
        results = erase(dict(img=image, seg_fields=list(maps), **maps))
        erased = results['gt_given_map'] == 255
        assert (erased == (results['gt_valid_map'] == 255)).all()
        rows, columns = np.flatnonzero(erased.any(1)), np.flatnonzero(erased.any(0))
        assert erased.sum() == len(rows) * len(columns)  # a box
        assert (results['img'][~erased] == 7).all() and (image == 7).all()
        assert np.std(results['img'][erased]) > 50  # noise, not one colour
        shares.append(erased.mean())
        aspects.append(len(rows) / 40 / (len(columns) / 60))
    assert 0.01 < min(shares) < 0.05 and 0.35 < max(shares) <= 0.4
    assert 0.25 < min(aspects) < 0.5 and 2 < max(aspects) < 4


def test_probability_and_ranges():
    image = np.zeros((8, 8, 3), np.uint8)
    assert RandomErasing(prob=0.0)(dict(img=image))['img'] is image
    for arguments, words in (
        (dict(prob=2), 'prob=2, expected 0 to 1'),
        (dict(area=(0.1, 0.9)), r'area=\(0.1, 0.9\), expected 0 < low <= high <= 0.8'),
        (dict(aspect=(2, 3)), r'aspect=\(2, 3\), expected 0 < low <= 1 <= high'),
    ):
        with pytest.raises(SetupError, match=words):
            RandomErasing(**arguments)
