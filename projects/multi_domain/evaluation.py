"""Validation and test loops that evaluate every domain with its head, and average the metrics."""

from collections.abc import Sequence
from statistics import fmean

from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from mmseg.registry import LOOPS
from torch.utils.data import DataLoader

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.loops import TeacherStudentTestLoop, TeacherStudentValLoop
from mmseg_semi.step.hooks import bare_model


class _EachDomain(BaseLoop):
    """Evaluate the domains one after the other, each with a loop of its own.

    Metrics are named ``<domain>/<network>/<metric>``. ``mean/<network>/<metric>`` is the plain mean
    over the domains, and ``mean/<metric>`` that of the deployed network.

    Args:
        runner: The runner.
        dataloader: Config of a loader for each domain.
        evaluator: Config of the metrics for each domain.
        domains: Names of the domains to evaluate; default all.
        networks: Networks to score, e.g. ['student']; default all.
        kwargs: Arguments of MMEngine's loop.

    Raises:
        SetupError: If a domain has no loader or metrics.
    """

    stage: str
    kind: type

    def __init__(
        self,
        runner: Runner,
        dataloader: dict[str, dict],
        evaluator: dict[str, dict],
        domains: Sequence[str] | None = None,
        networks: list[str] | None = None,
        **kwargs,
    ) -> None:
        self._runner = runner
        names = list(getattr(bare_model(runner), 'domains', dataloader))
        for key, given in (('dataloader', dataloader), ('evaluator', evaluator)):
            if set(given) != set(names):
                raise SetupError(
                    f'{self.stage}_{key} has {sorted(given)}, expected one for each of the domains {names}'
                )
        unknown = [name for name in domains or () if name not in names]
        if unknown or domains == []:
            raise SetupError(
                f'{self.stage}_cfg.domains={list(domains)}: expected some of {names}, or None for all of them'
            )
        self.loops = {
            name: self.kind(runner, dataloader[name], evaluator[name], networks=networks, **kwargs)
            for name in names
            if domains is None or name in domains
        }
        self._current = next(iter(self.loops))

    @property
    def dataloader(self) -> DataLoader:
        """Loader of the domain that is evaluated."""
        return self.loops[self._current].dataloader

    @property
    def evaluator(self):
        """Evaluator of the domain that is evaluated."""
        return self.loops[self._current].evaluator

    @property
    def networks(self) -> list[str] | None:
        """Networks to score."""
        return self.loops[self._current].networks

    @networks.setter
    def networks(self, networks: list[str] | None) -> None:
        for loop in self.loops.values():
            loop.networks = networks

    def run(self) -> dict[str, float]:
        """Evaluate all domains; returns the metrics of all their networks, and the means."""
        model, stage, hook = bare_model(self.runner), self.stage, self.runner.call_hook
        hook(f'before_{stage}')
        hook(f'before_{stage}_epoch')
        self.runner.model.eval()
        found: dict[str, dict[str, float]] = {}
        for name, loop in self.loops.items():
            self._current = name
            self.runner.visualizer.dataset_meta = loop.dataloader.dataset.metainfo
            self.runner.logger.info(f"Domain '{name}':")
            with model.predict_in(name):
                found[name] = loop.evaluate(stage)
        metrics = {f'{name}/{key}': v for name, own in found.items() for key, v in own.items()}
        metrics |= means(list(found.values()), model.predicting_network)
        hook(f'after_{stage}_epoch', metrics=metrics)
        hook(f'after_{stage}')
        return metrics


def means(metrics: Sequence[dict[str, float]], predicting: str) -> dict[str, float]:
    """The plain means of the metrics that all domains have."""
    common = [key for key in metrics[0] if all(key in other for other in metrics)]
    mean = {key: fmean(other[key] for other in metrics) for key in common}
    prefix = f'{predicting}/'
    return {
        f'mean/{key.removeprefix(prefix)}': v for key, v in mean.items() if key.startswith(prefix)
    } | {f'mean/{key}': value for key, value in mean.items()}


@LOOPS.register_module()
class MultiDomainValLoop(_EachDomain):
    __doc__ = _EachDomain.__doc__
    stage, kind = 'val', TeacherStudentValLoop


@LOOPS.register_module()
class MultiDomainTestLoop(_EachDomain):
    __doc__ = _EachDomain.__doc__
    stage, kind = 'test', TeacherStudentTestLoop
