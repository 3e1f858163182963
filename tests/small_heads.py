"""Heads with few channels and random norms, and inputs for them."""

import torch
from mmseg.registry import MODELS
from tiny_semi import CHANNELS, tiny_head
from torch import Tensor, nn


def build(kind: str = 'DeepLabV3PlusHead', seed: int = 0, **changes) -> nn.Module:
    torch.manual_seed(seed)
    head = MODELS.build(tiny_head(kind, **changes))
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            if module.running_mean is not None:
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
    return head


def backbone_outputs(n: int = 2, seed: int = 0, side: int = 8) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    sides = (side, (side + 1) // 2, (side + 3) // 4, (side + 3) // 4)
    return [torch.randn(n, c, s, s, generator=draw) for c, s in zip(CHANNELS, sides, strict=True)]


def norm(x: Tensor, module: nn.BatchNorm2d, training: bool) -> Tensor:
    """Batch norm by its definition."""
    mean, variance = module.running_mean, module.running_var
    if training or mean is None:
        mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
    shape = (1, -1, 1, 1)
    x = (x - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt()
    return x * module.weight.view(shape) + module.bias.view(shape)
