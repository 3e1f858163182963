"""Validation and test loops that evaluate student and teacher in one pass over the data."""

import copy

import torch
from mmengine.runner.amp import autocast
from mmengine.runner.loops import TestLoop, ValLoop
from mmseg.registry import LOOPS

from mmseg_semi.step.hooks import bare_model


class _BothNetworks:
    """Mixin for MMEngine's loops: an evaluator per network, metrics ``<network>/<metric>``.

    Attributes:
        evaluators: Those of the last evaluation by network; None is the network of a plain segmentor.
    """

    def _score(self, stage: str) -> dict:
        self.runner.call_hook(f'before_{stage}')
        self.runner.call_hook(f'before_{stage}_epoch')
        self.runner.model.eval()
        metrics = self.evaluate(stage)
        self.runner.call_hook(f'after_{stage}_epoch', metrics=metrics)
        self.runner.call_hook(f'after_{stage}')
        return metrics

    def evaluate(self, stage: str) -> dict:
        """Compute the metrics of all networks; calls only the hooks around each batch.

        Args:
            stage: 'val' or 'test'.

        Returns:
            Metrics by name.
        """
        model = bare_model(self.runner)
        names = [None]  # a plain segmentor has one network and plain metric names
        if hasattr(model, 'networks'):
            names = (
                list(model.networks)
                if self.networks is None
                else [model.network(n) and n for n in self.networks]
            )
        evaluators = {name: copy.deepcopy(self.evaluator) for name in names}
        self.evaluators = evaluators
        for index, batch in enumerate(self.dataloader):
            self._score_batch(stage, index, batch, evaluators)
        metrics = {}
        for name, evaluator in evaluators.items():
            if name is not None:
                self.runner.logger.info(f'Evaluation of the {name}:')
            for key, value in evaluator.evaluate(len(self.dataloader.dataset)).items():
                metrics[key if name is None else f'{name}/{key}'] = value
        return metrics

    @torch.no_grad()
    def _score_batch(self, stage: str, index: int, batch: dict, evaluators: dict) -> None:
        model = bare_model(self.runner)
        self.runner.call_hook(f'before_{stage}_iter', batch_idx=index, data_batch=batch)
        shown = None
        for name, evaluator in evaluators.items():
            with autocast(enabled=self.fp16):
                if name is None:
                    outputs = getattr(self.runner.model, f'{stage}_step')(batch)
                else:
                    with model.predict_with(name):
                        outputs = getattr(self.runner.model, f'{stage}_step')(batch)
            if shown is None or name == getattr(model, 'predicting_network', None):
                shown = outputs  # hooks draw the network that predicts
            evaluator.process(data_samples=outputs, data_batch=batch)
        self.runner.call_hook(
            f'after_{stage}_iter', batch_idx=index, data_batch=batch, outputs=shown
        )


@LOOPS.register_module()
class TeacherStudentValLoop(_BothNetworks, ValLoop):
    """A validation loop that evaluates student and teacher.

    It corresponds to mmdetection's loop of this name, with one pass over the data instead of two.

    Args:
        networks: Names of the networks to evaluate, such as ['student']; default all of the model.
        args, kwargs: See MMEngine's ``ValLoop``.
    """

    def __init__(self, *args, networks: list[str] | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.networks = networks

    def run(self) -> dict:
        """Returns the metrics of all networks."""
        return self._score('val')


@LOOPS.register_module()
class TeacherStudentTestLoop(_BothNetworks, TestLoop):
    """The test loop that corresponds to :class:`TeacherStudentValLoop`; it has its arguments."""

    def __init__(self, *args, networks: list[str] | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.networks = networks

    def run(self) -> dict:
        """Returns the metrics of all networks."""
        return self._score('test')
