"""The usual size of the labelled images, which published files tell."""

from miniatures import VOC, voc
from mmengine.registry import init_default_scope
from shipped import ROOT, shipped

from mmseg_semi.runtime.prediction.models import labelled_images, training_size


def test_they_are_those_of_the_split(tmp_path, monkeypatch):
    """VOC's data set cannot be built without a list; that of a published split stands in no key of the config."""
    init_default_scope('mmseg')
    monkeypatch.chdir(tmp_path)
    cfg = shipped(ROOT / 'configs/ddfp/voc_732.py')
    assert training_size(cfg, None) is None  # no list, no images
    voc(tmp_path)
    names = [path.rpartition('/')[2] for path in labelled_images(cfg, None)]
    assert names == [f'{name}.jpg' for name in VOC[:2]]
    # the median of (500, 333) and (375, 500), of each side the lower one
    assert training_size(cfg, None) == (375, 333)
