"""CCT's consistency as the paper writes it, for the tests and for the benchmark."""

from collections.abc import Callable, Iterable

from torch import Tensor

Branch = Callable[[Tensor], Tensor]


def plain_loop(
    features: Tensor,
    target: Tensor,
    branches: Iterable[tuple[Branch, Branch]],
    compare: Callable[[Tensor, Tensor], Tensor],
) -> list[Tensor]:
    """Run one auxiliary decoder after the other, each on its own perturbed copy of the features.

    Args:
        features: (N, C, h, w), the encoder's output.
        target: (N, K, H, W), the main decoder's probabilities on the clean features.
        branches: For each auxiliary decoder two functions: features -> perturbed features, and
            perturbed features -> class scores.
        compare: Class scores and target -> a loss.

    Returns:
        One loss for each branch.

    Example:
        >>> import torch
        >>> features, target = torch.rand(1, 4, 2, 2), torch.full((1, 3, 2, 2), 1 / 3)
        >>> decode = torch.nn.Conv2d(4, 3, 1)
        >>> branches = [(torch.nn.Dropout2d(), decode), (torch.nn.Identity(), decode)]
        >>> len(plain_loop(features, target, branches, torch.nn.functional.mse_loss))
        2
    """
    return [compare(decode(perturb(features)), target) for perturb, decode in branches]
