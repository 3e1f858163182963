"""The losses of a decode head against torch's own cross entropy and MMSegmentation's modules, in both memory formats."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import FCNHead
from torch import Tensor, nn

from mmseg_semi.heads.decode_losses import decode_losses

WEIGHTS = [1.0, 4.0, 0.5, 2.0]


def example() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 4, 6, 7, generator=generator)
    label = torch.randint(0, 4, (2, 6, 7), generator=generator)
    label[0, :3] = 255
    return logits, label


def head(**loss) -> nn.Module:
    losses = dict(type='CrossEntropyLoss') | loss
    return FCNHead(in_channels=4, channels=4, num_classes=4, loss_decode=losses)


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('avg_non_ignore', [True, False])
@pytest.mark.parametrize('class_weight', [None, WEIGHTS])
def test_the_mean_is_torchs(class_weight, avg_non_ignore, memory_format):
    logits, label = example()
    weights = None if class_weight is None else torch.tensor(class_weight)
    expected = F.cross_entropy(logits, label, weight=weights, ignore_index=255)
    if (
        class_weight is None and not avg_non_ignore
    ):  # MMSegmentation's default counts ignored pixels
        expected = expected * (label != 255).sum() / label.numel()
    leaf = logits.contiguous(memory_format=memory_format).requires_grad_()
    losses = decode_losses(
        head(class_weight=class_weight, avg_non_ignore=avg_non_ignore, loss_weight=0.4),
        leaf,
        label[:, None],
    )
    assert losses['loss_ce'].item() == pytest.approx(0.4 * expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(losses['loss_ce'], leaf)
    assert not gradient[:, :, :3][0].any() and gradient[1].any()
    accuracy = (logits.argmax(dim=1) == label)[label != 255].float().mean()
    assert losses['acc_seg'].item() == pytest.approx(100 * accuracy.item(), rel=1e-5)


def test_without_ignored_pixels_class_weights_are_those_of_mmsegmentation():
    logits, label = example()
    label[label == 255] = 0
    own = head(class_weight=WEIGHTS)  # its avg_non_ignore=True with class weights raises an error
    expected = own.loss_decode(logits, label, ignore_index=255)
    assert decode_losses(own, logits, label[:, None])['loss_ce'].item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_an_image_without_a_labelled_pixel_has_a_loss_of_zero():
    logits, label = example()
    losses = decode_losses(
        head(class_weight=WEIGHTS, avg_non_ignore=True),
        logits,
        torch.full_like(label, 255)[:, None],
    )
    assert losses['loss_ce'] == 0


@pytest.mark.parametrize(
    'loss', [dict(type='DiceLoss', loss_name='loss_dice'), dict(use_sigmoid=True)]
)
def test_other_losses_of_mmsegmentation_are_called_as_they_are(loss):
    logits, label = example()
    own = head(**loss)
    expected = own.loss_decode(logits, label, ignore_index=255)
    found = decode_losses(own, logits.contiguous(memory_format=torch.channels_last), label[:, None])
    assert found[own.loss_decode.loss_name].item() == pytest.approx(expected.item(), rel=1e-5)
