"""Channel dropout on the backbone's outputs: UniMatch's feature view, and UniMatch V2's complementary pair.

V1: L. Yang, L. Qi, L. Feng, W. Zhang, Y. Shi, "Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic
Segmentation", CVPR 2023, arXiv 2208.09910. V2: L. Yang, Z. Zhao, H. Zhao, "UniMatch V2: Pushing the Limit of
Semi-Supervised Semantic Segmentation", TPAMI 2025, arXiv 2410.10777. Behaviour checked against
github.com/LiheYoung/UniMatch (0324f3d) and github.com/LiheYoung/UniMatch-V2 (f6afb4d).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_semi.errors import SetupError
from mmseg_semi.step.feature_views import FeatureViews, Levels


def complementary_masks(
    count: int, channels: int, whole: float, device: torch.device | str = 'cpu'
) -> tuple[Tensor, Tensor]:
    """Factors of the channels of two views: what the one keeps the other drops.

    Each channel of an image is kept, doubled, by one of the two views and 0 in the other, with equal probability. A share
    of the images, drawn without replacement, stays whole in both: factor 1.

    Args:
        count: N, images.
        channels: C.
        whole: Share of the images that stay whole, in [0, 1]; floor(whole N) images.
        device: Where to draw, from the global generator.

    Returns:
        Two (N, C) float32 tensors that sum to 2.

    Example:
        >>> first, second = complementary_masks(4, 8, whole=0.5)
        >>> (first + second).unique().tolist(), (first == 1).all(dim=1).sum().item()
        ([2.0], 2)
    """
    first = torch.randint(0, 2, (count, channels), device=device).float() * 2
    stays = torch.randperm(count, device=device) < int(whole * count)
    first = first.masked_fill(stays[:, None], 1.0)
    return first, 2 - first


@MODELS.register_module()
class ChannelDropout(FeatureViews):
    """Drops whole channels of each output of the backbone, independently by output: UniMatch's feature perturbation.

    UniMatch: ``feature_views=[dict(type='ChannelDropout', views=dict(features='weak'))]``, and an objective
    ``dict(type='SelfTrainingObjective', view='features')``.

    Args:
        views: {name of the new view: its source}.
        prob: Probability that a channel is dropped, in [0, 1) (0.5); the others are scaled by 1 / (1 - prob).

    Raises:
        SetupError: A value out of range; names or sources that cannot be.

    Example:
        >>> dropout = ChannelDropout(views=dict(features='weak'))
        >>> made = dropout(dict(weak=(torch.ones(2, 6, 4, 4),)))['features'][0]
        >>> sorted(set(made.flatten().tolist()) | {0.0, 2.0})
        [0.0, 2.0]
    """

    def __init__(self, views: Mapping[str, str], prob: float = 0.5) -> None:
        super().__init__(views)
        if not 0 <= prob < 1:
            raise SetupError(
                f'model.feature_views: ChannelDropout.prob={prob}; expected a probability in [0, 1)'
            )
        self.prob = prob

    def forward(self, levels: Mapping[str, Levels]) -> dict[str, Levels]:
        """See :class:`FeatureViews`."""
        return {
            name: tuple(F.dropout2d(level, self.prob) for level in levels[source])
            for name, source in self.views.items()
        }


@MODELS.register_module()
class ComplementaryChannelDropout(FeatureViews):
    """Drops of two strong views complementary halves of the channels: UniMatch V2's perturbation.

    Outputs of the backbone with equal numbers of channels share one mask, as those of a ViT do in the released code. The two
    sources must pass the student in one call.

    Args:
        views: {name of the new view: its source}, two of two different sources.
        whole: Share of the images that stay as they are, in [0, 1] (0.5).

    Raises:
        SetupError: A value out of range; names or sources that cannot be.

    Example:
        >>> dropout = ComplementaryChannelDropout(dict(kept='strong', dropped='strong_2'), whole=0.0)
        >>> level = torch.ones(2, 6, 4, 4)
        >>> made = dropout(dict(strong=(level,), strong_2=(level,)))
        >>> (made['kept'][0] + made['dropped'][0]).unique().tolist()
        [2.0]
    """

    def __init__(self, views: Mapping[str, str], whole: float = 0.5) -> None:
        super().__init__(views)
        if len(self.views) != 2 or len({*self.views.values()}) != 2:
            raise SetupError(
                f'model.feature_views: ComplementaryChannelDropout.views={self.views}; expected two views of two different '
                "sources, such as dict(dropped='strong', dropped_2='strong_2')"
            )
        if not 0 <= whole <= 1:
            raise SetupError(
                f'model.feature_views: ComplementaryChannelDropout.whole={whole}; expected a share in [0, 1]'
            )
        self.whole = whole

    def forward(self, levels: Mapping[str, Levels]) -> dict[str, Levels]:
        """See :class:`FeatureViews`."""
        sources = [levels[source] for source in self.views.values()]
        # by number of channels
        masks: dict[int, tuple[Tensor, Tensor]] = {}
        made: tuple[list[Tensor], list[Tensor]] = ([], [])
        for pair in zip(*sources, strict=True):
            count, channels = pair[0].shape[:2]
            if channels not in masks:
                masks[channels] = complementary_masks(count, channels, self.whole, pair[0].device)
            for level, mask, views in zip(pair, masks[channels], made, strict=True):
                views.append(level * mask.to(level.dtype)[:, :, None, None])
        return {name: tuple(views) for name, views in zip(self.views, made, strict=True)}
