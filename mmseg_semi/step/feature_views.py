"""Views of features: what the backbone gives for a view of images, changed before the head."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.step.views import is_strong

Levels = tuple[Tensor, ...]
"""Outputs of the backbone (or neck) for some images, each (N, C_i, h_i, w_i)."""


class FeatureViews(nn.Module):
    """Base class of feature views, ``model.feature_views``; a subclass implements :meth:`forward`.

    The source, a view of images, passes the backbone once; if no objective asks for the source itself, it does not pass the
    head. A feature view has the labels of its source: those of the weak view are not mixed, those of a strong view are mixed as
    its images are.

    Args:
        views: {name of the new view: its source, 'weak' or a strong view}.

    Raises:
        SetupError: A name that is taken, or a source that is no view of images.
    """

    def __init__(self, views: Mapping[str, str]) -> None:
        super().__init__()
        key = f'model.feature_views: {type(self).__name__}.views'
        if not isinstance(views, Mapping) or not views:
            raise SetupError(
                f"{key}={views!r}: expected a dict of at least one, such as dict(dropped='weak')"
            )
        for name, source in views.items():
            if name in ('labeled', 'mixed', 'weak') or is_strong(name):
                raise SetupError(
                    f"{key} makes '{name}', but this is the name of a view of images: choose another name"
                )
            if source != 'weak' and not is_strong(source):
                raise SetupError(
                    f"{key} makes '{name}' of '{source}': expected 'weak', 'strong', 'strong_2' and so on"
                )
        self.views = dict(views)

    def forward(self, levels: Mapping[str, Levels]) -> dict[str, Levels]:
        """Makes the views.

        Args:
            levels: The backbone's outputs by source.

        Returns:
            The same by name of the new view, of equal shapes.
        """
        raise NotImplementedError
