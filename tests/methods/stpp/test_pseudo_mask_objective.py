"""The loss on pseudo-labelled images."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from tiny_semi import tiny_batch, tiny_losses, tiny_model

from mmseg_semi.data import LoadImage, LoadPseudoMask
from mmseg_semi.errors import SetupError
from mmseg_semi.methods.stpp import PseudoMaskObjective

OBJECTIVES = [dict(type='SupervisedObjective'), dict(type='PseudoMaskObjective', weight=0.5)]


def pseudo_labelled() -> dict:
    """A batch of two labelled images and of two with pseudo-masks, in one view; a stripe is erased."""
    batch = tiny_batch(2, 2)
    for field in ('inputs', 'data_samples'):
        batch[field] = {view: batch[field][view] for view in ('labeled', 'weak')}
    generator = torch.Generator().manual_seed(1)
    for sample in batch['data_samples']['weak'][2:]:
        mask = torch.randint(0, 3, (1, 32, 32), generator=generator, dtype=torch.uint8)
        mask[..., :5] = 255
        mask[~sample.valid_map.data] = 255
        sample.given_map = PixelData(data=mask)
    return batch


@pytest.mark.parametrize('forward', ['joint', 'stream'])
def test_loss_and_gradient(forward):
    """Of one pass of labelled and pseudo-labelled images, or of a pass of each; no teacher takes part."""
    model = tiny_model(
        'supervised', dropout=0.0, objectives=OBJECTIVES, forward=forward, monitor_interval=1
    )
    losses = tiny_losses(model, 0, pseudo_labelled())
    batch = model.last_views.batch
    images = [batch.img_l, batch.unlabeled.img_u_w]
    if forward == 'joint':
        logits = model.student(torch.cat(images)).split(2)
    else:
        logits = [model.student(one) for one in images]
    labelled, pseudo = (model.upsample(one, (32, 32)) for one in logits)
    masks = batch.unlabeled.noisy_u
    supervised = F.cross_entropy(labelled, batch.label_l, ignore_index=255)
    on_masks = F.cross_entropy(pseudo, masks, ignore_index=255)
    torch.testing.assert_close(losses['pseudo_masks.loss'], 0.5 * on_masks)
    torch.testing.assert_close(losses['sup.decode.loss_ce'], supervised)
    known, valid = masks != 255, batch.unlabeled.valid_u
    assert losses['pseudo_masks.pixels'] == known.sum() / valid.sum() < 1
    agreement = (pseudo.argmax(1) == masks)[known].float().mean()
    torch.testing.assert_close(losses['pseudo_masks.agreement'], agreement)
    total = sum(value for name, value in losses.items() if 'loss' in name)
    weights = [p for p in model.parameters() if p.requires_grad]
    mine = torch.autograd.grad(total, weights)
    for one, other in zip(
        mine, torch.autograd.grad(supervised + 0.5 * on_masks, weights), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


class Pool:
    """What ``check_data`` looks at of a data set."""

    def __init__(self, *steps) -> None:
        self.pipeline = type('Pipeline', (), dict(transforms=steps))()


def test_data_without_pseudo_masks_is_refused():
    objective = PseudoMaskObjective()
    dataset = type('Data', (), {})()
    dataset.datasets = [None, Pool(LoadImage(), LoadPseudoMask('masks', 3))]
    objective.check_data(dataset)
    dataset.datasets = [None, Pool(LoadImage(), LoadPseudoMask(num_classes=3))]
    with pytest.raises(SetupError, match='masks=None: train with mmseg-semi selective-retrain'):
        objective.check_data(dataset)
    dataset.datasets = [None, Pool(LoadImage())]
    with pytest.raises(SetupError, match='loads none: put .*LoadPseudoMask'):
        objective.check_data(dataset)
