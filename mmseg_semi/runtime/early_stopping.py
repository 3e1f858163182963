"""Early stopping on the metrics of the network that predicts, which a resumed run continues."""

from math import isfinite

from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_semi.errors import SetupError
from mmseg_semi.step.hooks import bare_model

_KEY = 'early_stopping'


@HOOKS.register_module()
class SemiEarlyStoppingHook(EarlyStoppingHook):
    """MMEngine's ``EarlyStoppingHook`` for several networks, with its state in the checkpoint.

    MMEngine's own hook looks for a metric of exactly the name ``monitor``, warns through Python's warnings if
    there is none, and goes on. Its count begins anew with each resumed run. ``configs.build_runner`` takes this
    hook in its place.

    Args:
        monitor: A metric. If the model has several networks, a bare name such as 'mIoU' is the metric of the deployed
            network, as for ``save_best``.
        patience: Validations without an improvement after which the run ends.
        min_delta: By how much a value must exceed the best one to be an improvement; 0 counts every larger one.
        args, kwargs: See MMEngine's hook.

    Raises:
        SetupError: Before training, if ``patience`` is below 1; at the first validation, if there is no metric of
            that name (where all metrics are of IoUMetric, ``SemiStepHook`` finds that before training).

    State:
        ``early_stopping`` in the message hub: best value, validations without improvement, and whether they ended
        the run.
    """

    priority = 'LOW'  # before the checkpoint of the same validation, which holds the count

    def __init__(
        self, monitor: str = 'mIoU', *args, patience: int = 5, min_delta: float = 0.0, **kwargs
    ) -> None:
        super().__init__(monitor, *args, patience=patience, min_delta=min_delta, **kwargs)
        if patience < 1:
            raise SetupError(
                f'early stopping: patience={patience}; expected a number of validations of 1 or more'
            )

    def before_train(self, runner: Runner) -> None:
        predicting = getattr(bare_model(runner), 'predicting_network', None)
        if predicting is not None and '/' not in self.monitor:
            self.monitor = f'{predicting}/{self.monitor}'
        if runner.val_loop is None:
            raise SetupError(
                'early stopping needs validations, but the config has none; give val_dataloader, val_cfg and '
                'val_evaluator, or leave early stopping out'
            )
        state = runner.message_hub.runtime_info.get(_KEY)
        if not state:
            return
        self.best_score, self.wait_count = state['best_score'], state['wait_count']
        if self.wait_count >= self.patience:
            runner.train_loop.stop_training = True
            runner.logger.info(
                f'{self._said()}: this run has ended; a larger number of validations (patience) lets it go on'
            )

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Counts a validation, and ends the run if it is one too many."""
        if self.monitor not in (metrics or {}):
            raise SetupError(
                f"early stopping: monitor='{self.monitor}' is no metric of the validation; choose among "
                f'{", ".join(metrics or {})}'
            )
        value = float(metrics[self.monitor])
        better = self.rule_map[self.rule]
        if self.check_finite and not isfinite(value):
            self.wait_count = self.patience
        elif better(value, self.best_score + self.min_delta):
            self.best_score, self.wait_count = value, 0
        else:
            self.wait_count += 1
        enough = self.stopping_threshold is not None and better(value, self.stopping_threshold)
        state = dict(best_score=self.best_score, wait_count=self.wait_count)
        runner.message_hub.update_info(_KEY, state)
        if self.wait_count >= self.patience or enough:
            runner.train_loop.stop_training = True
            runner.logger.info(
                f'{self.monitor}={value:.2f} is beyond stopping_threshold={self.stopping_threshold}'
                if enough
                else f'{self._said()}: stopping early at iteration {runner.iter}'
            )

    def after_train(self, runner: Runner) -> None:
        """Saves the last state, if the config asks for no checkpoint of this iteration."""
        hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        if hook is None or not runner.train_loop.stop_training:
            return
        name = hook.filename_tmpl.format(runner.iter)
        if hook.last_ckpt is None or not str(hook.last_ckpt).endswith(name):
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            hook._save_checkpoint_with_step(runner, runner.iter, meta)

    def _said(self) -> str:
        return f'{self.monitor} has not improved on {self.best_score:.2f} in {self.wait_count} validations'
