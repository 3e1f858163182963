"""Which views pass the student, made of what, and in which calls."""

from collections.abc import Collection, Iterable, Sequence

from mmseg_semi.errors import SetupError
from mmseg_semi.step.feature_views import FeatureViews
from mmseg_semi.step.objective import Objective
from mmseg_semi.step.views import is_strong

Forward = str | Sequence[Sequence[str]]
"""``model.forward``: 'joint', 'stream', or the views of each call."""


class ViewPlan:
    """What ``model.forward`` and ``model.feature_views`` say about the views of a recipe.

    Args:
        forward: See :class:`~mmseg_semi.step.segmentor.SemiSegmentor`.
        feature_views: The modules of ``model.feature_views``.

    Attributes:
        sources: {feature view: the view of images that it is made of}.

    Raises:
        SetupError: A value of ``forward`` that is none, or feature views that do not fit together or into a call.

    Example:
        >>> plan = ViewPlan([['labeled', 'weak'], ['strong', 'strong_2']])
        >>> plan.strong({'strong_2', 'strong'}), plan.calls(['labeled', 'strong'])
        (['strong', 'strong_2'], [['labeled'], ['strong']])
    """

    def __init__(self, forward: Forward, feature_views: Iterable[FeatureViews] = ()) -> None:
        _check_forward(forward)
        self.forward = forward if isinstance(forward, str) else [[*call] for call in forward]
        self.sources: dict[str, str] = {}
        for index, views in enumerate(feature_views):
            if not isinstance(views, FeatureViews):
                raise SetupError(
                    f'model.feature_views[{index}] is {type(views).__name__}, which makes no views: make it a subclass of '
                    'mmseg_semi.step.feature_views.FeatureViews'
                )
            for name in views.views.keys() & self.sources.keys():
                raise SetupError(f"model.feature_views make the view '{name}' twice")
            self._check_together(views)
            self.sources |= views.views

    def _check_together(self, views: FeatureViews) -> None:
        together = {*views.views.values()}
        if len(together) == 1 or self.forward == 'joint':
            return
        if self.forward == 'stream' or not any(together <= {*call} for call in self.forward):
            raise SetupError(
                f'model.feature_views: {type(views).__name__} works on {sorted(together)} together, but '
                f'model.forward={self.forward!r} passes them in several calls: set for instance '
                f'model.forward={[["labeled"], sorted(together)]}'
            )

    def image_views(self, views: Iterable[str]) -> set[str]:
        """The views of images behind some views."""
        return {self.sources.get(view, view) for view in views}

    def strong(self, views: Iterable[str]) -> list[str]:
        """The strong views behind some views; in one order, whichever objective asks first."""
        images = filter(is_strong, self.image_views(views))
        return sorted(images, key=lambda view: (len(view), view))

    def calls(self, images: Sequence[str]) -> list[list[str]]:
        """The views of images that pass the student in each call."""
        if self.forward == 'joint':
            return [[*images]] if images else []
        if self.forward == 'stream':
            return [[view] for view in images]
        calls = [[view for view in images if view in call] for call in self.forward]
        return [call for call in calls if call]

    @property
    def joins_labeled(self) -> bool:
        """Whether labelled images pass the student in one call with others."""
        if isinstance(self.forward, str):
            return self.forward == 'joint'
        return any('labeled' in call and len(call) > 1 for call in self.forward)

    def check(self, objectives: Sequence[Objective], mixed: Collection[str] | None) -> None:
        """Refuses views that nothing makes, and what is said of views that no objective asks for.

        Args:
            objectives: Those of the recipe.
            mixed: The keys of ``model.mixing``, if it has a mixing for each view.

        Raises:
            SetupError: As above.
        """
        for objective in objectives:
            for view in sorted(objective.all_needs.views):
                if not is_strong(view) and view not in self.sources:
                    known = ', '.join(map(repr, self.sources)) or 'none'
                    raise SetupError(
                        f"objective '{objective.name}' learns from the view '{view}', which nothing makes: expected "
                        f"'strong', 'strong_2' and so on, or a name in model.feature_views, which has {known}"
                    )
        images = self.image_views(set().union(*(o.all_needs.views for o in objectives)))
        for view in mixed or ():
            if view not in images:
                raise SetupError(
                    f"model.mixing has the key '{view}', but no objective learns from this view; those asked for are "
                    f'{self.strong(images)}'
                )
        if isinstance(self.forward, str):
            return
        if any(o.all_needs.weak or o.all_needs.weak_features for o in objectives):
            images.add('weak')
        named = {view for call in self.forward for view in call}
        for view in sorted({'labeled', *images} - named):
            raise SetupError(
                f"model.forward={self.forward} does not say in which call the view '{view}' passes the student: add it to "
                'one of the lists'
            )


def _check_forward(forward: Forward) -> None:
    if forward in ('joint', 'stream'):
        return
    calls = () if isinstance(forward, str) else tuple(forward)
    views = [view for call in calls if not isinstance(call, str) for view in call]
    known = all(view in ('labeled', 'weak') or is_strong(view) for view in views)
    if not views or not known or len({*views}) < len(views) or any(map(_is_text, calls)):
        raise SetupError(
            f"model.forward={forward!r}: expected 'joint', 'stream' or the views of each call, each view once, such as "
            "[['labeled', 'weak'], ['strong', 'strong_2']]"
        )


def _is_text(call: Sequence[str]) -> bool:
    return isinstance(call, str)
