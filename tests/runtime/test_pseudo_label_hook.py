"""PseudoLabelHook on whole runs: which files there are, what they show, and that training does not notice."""

import numpy as np
import pytest
import torch
from mmengine.visualization import BaseVisBackend
from mmseg.registry import VISBACKENDS
from PIL import Image
from tiny_semi import tiny_batch, tiny_data, tiny_losses, tiny_model, tiny_runner

from mmseg_semi.errors import SetupError
from mmseg_semi.labels import IGNORE
from mmseg_semi.runtime import pseudo_label_hook
from mmseg_semi.runtime.pictures import sheet
from mmseg_semi.runtime.pseudo_label_hook import TITLES, PseudoLabelHook


@VISBACKENDS.register_module(force=True)
class Remembering(BaseVisBackend):
    """A backend such as TensorBoard's, which keeps what it is given."""

    images: list = []

    def _init_env(self):
        pass

    @property
    def experiment(self):
        return self

    def add_image(self, name, image, step=0, **kwargs):
        self.images.append((name, step, image))


def run(folder, method='ddfp', **hook):
    """A run of 8 iterations with pseudo-labels from iteration 2 on."""
    folder.mkdir(exist_ok=True)
    cfg = tiny_data(folder, method, iterations=8, checkpoint_interval=8)
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend'), dict(type='Remembering')]
    if hook:
        cfg.default_hooks.pictures = dict(type='PseudoLabelHook', **hook)
    Remembering.images = []
    runner = tiny_runner(cfg)
    runner.train()
    return runner


def test_pictures_are_written_kept_few_and_handed_on(tmp_path):
    run(tmp_path, interval=2, num_images=1, max_keep=2)
    files = sorted(path.name for path in (tmp_path / 'work_dir/pseudo_labels').iterdir())
    assert files == ['iter_6.png', 'iter_8.png']
    # at iteration 2 (the second) nothing had asked for pseudo-labels yet
    assert [(name, step) for name, step, _ in Remembering.images] == [
        ('pseudo_labels', step) for step in (4, 6, 8)
    ]
    shown = np.asarray(Image.open(tmp_path / 'work_dir/pseudo_labels/iter_8.png'))
    assert np.array_equal(shown, Remembering.images[-1][2])
    # the local backend is not given every picture a second time
    assert not list((tmp_path / 'work_dir').rglob('vis_image'))


def test_training_does_not_notice(tmp_path):
    first = run(tmp_path / 'without').model.state_dict()
    second = run(tmp_path / 'with', interval=1).model.state_dict()
    assert (tmp_path / 'with/work_dir/pseudo_labels/iter_7.png').exists()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_only_the_first_process_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(pseudo_label_hook, 'is_main_process', lambda: False)
    run(tmp_path, 'fixmatch', interval=1)
    assert not (tmp_path / 'work_dir/pseudo_labels').exists() and not Remembering.images


def test_a_picture_shows_the_steps_views():
    model = tiny_model('fixmatch', mixing=dict(type='CutMix', prob=1.0))
    batch = tiny_batch(num_unlabeled=3, padding=4)
    tiny_losses(model, 2, batch)
    views = model.last_views
    hook = PseudoLabelHook(num_images=2)
    hook._palette = palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    picture = hook.draw(views, model.data_preprocessor)
    size = views.batch.unlabeled.img_u_w.shape[-1]
    marked = np.full((size, size, 3), (255, 0, 255), np.uint8)
    empty = sheet([[marked] * 5] * 2, TITLES, ['u0.png', 'u1.png'])
    tops, lefts = np.where((empty == (255, 0, 255)).all(axis=2))
    assert picture.shape == empty.shape and len(tops) == 10 * size * size
    tops = [t for t in np.unique(tops) if t - 1 not in tops]
    lefts = [x for x in np.unique(lefts) if x - 1 not in lefts]
    assert len(tops) == 2 and len(lefts) == 5
    for i, top in enumerate(tops):
        weak, mixed, labels, mixed_labels, confidence = (
            picture[top : top + size, left : left + size] for left in lefts
        )
        loaded = batch['inputs']['weak'][2 + i].permute(1, 2, 0).numpy()[..., ::-1]
        assert np.array_equal(weak, loaded)
        # what the student saw is made of the strong views of images i and i + 1
        strong = [
            batch['inputs']['strong'][2 + k].permute(1, 2, 0).numpy()[..., ::-1] for k in (i, i + 1)
        ]
        own, other = ((mixed == s).all(axis=2) for s in strong)
        assert (own | other).all() and 0 < other.sum() < size * size
        for shown, pseudo, valid in (
            (labels, views.teacher.pseudo_u, views.batch.unlabeled.valid_u),
            (mixed_labels, views.teacher.mixed.pseudo_m, views.teacher.mixed.valid_m),
        ):
            for y in range(size):
                for x in range(size):
                    label, colour = int(pseudo.labels[i, y, x]), tuple(shown[y, x])
                    if not valid[i, y, x]:
                        assert colour == (0, 0, 0)
                    elif label == IGNORE:
                        assert colour in ((200,) * 3, (235,) * 3)
                    else:
                        assert colour == palette[label]
        assert not confidence[:, size - 4 :].any() and confidence[:, : size - 4].any()


@pytest.mark.parametrize('wrong', [{'interval': 0}, {'num_images': 0}, {'max_keep': 0}])
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(SetupError, match=f'{next(iter(wrong))}=0'):
        PseudoLabelHook(**wrong)
