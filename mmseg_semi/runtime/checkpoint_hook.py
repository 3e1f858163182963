"""A checkpoint hook that leaves a complete checkpoint on the disk whenever a run is killed."""

import inspect
import os
import re
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_semi.errors import SetupError, UnwritableFileError
from mmseg_semi.files import DRAFT, whole_file, write_whole
from mmseg_semi.runtime.checkpoints import from_plain, is_whole, latest_checkpoint, to_plain
from mmseg_semi.runtime.config_checks import check_keys
from mmseg_semi.step.hooks import bare_model

# Drafts of checkpoints and of last_checkpoint; version 0.1 called them NAME.tmp.
_DRAFTS = re.compile(
    rf'\.(.+\.pth|last_checkpoint)\.\d+{re.escape(DRAFT)}|(.+\.pth|last_checkpoint)\.tmp'
)

_BETWEEN = 'checkpoint_between'

_ARGUMENTS = [name for name in inspect.signature(CheckpointHook).parameters if name != 'kwargs']
# what MMEngine's hook hands on to Runner.save_checkpoint
_OF_SAVING = [
    name
    for name in inspect.signature(Runner.save_checkpoint).parameters
    if name not in ('self', 'out_dir', 'filename', 'meta')
]


def is_accumulating(runner: Runner) -> bool:
    """Whether gradients of this iteration wait for those of the next ones, see ``accumulative_counts``."""
    wrapper = runner.optim_wrapper
    return getattr(wrapper, '_accumulative_counts', 1) > 1 and not wrapper.should_update()


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` with atomic writes.

    MMEngine's own hook removes the checkpoint that ``max_keep_ckpts`` drops and then writes the
    next one in place: a run with ``max_keep_ckpts=1`` that is killed in between has no checkpoint
    left. This hook writes the checkpoint to a draft, brings the bytes to the disk, renames the
    draft, notes the name in ``last_checkpoint``, and only then removes older files. It treats the
    best checkpoints in the same way.

    If an iteration is both saved and validated, the hook writes its checkpoint again after the
    validation, with the metrics. A run that resumes from a checkpoint written before its validation
    validates first, so that no validation is missing.

    A checkpoint holds no gradients. If several iterations make one update of the weights
    (``accumulative_counts``), the hook waits until the update is complete.

    Checkpoints hold plain types (:func:`mmseg_semi.runtime.checkpoints.to_plain`). The folder can
    be moved: ``last_checkpoint`` and the file names inside a checkpoint are relative to it.

    Args:
        save_best: As for ``CheckpointHook``. If the model has several networks, a bare metric such
            as 'mIoU' is the metric of the deployed network ('teacher/mIoU').
        args, kwargs: See ``mmengine.hooks.CheckpointHook``.

    Raises:
        SetupError: If a key is unknown, or a number is none that means something; before training, if ``out_dir`` is no local folder or the data set's metainfo
            cannot be saved; at the first validation, if ``save_best`` is none of its metrics (``SemiStepHook`` finds most before).

    State:
        In the message hub: ``last_ckpt``, ``best_ckpt*``, ``keep_ckpt_ids`` (MMEngine's own),
        ``checkpoint_validated``, the iteration of the last validation, and in a checkpoint of
        :meth:`save_between`, ``checkpoint_between``, its iteration.
    """

    def __init__(self, interval: int = -1, *args: Any, **kwargs: Any) -> None:
        place = 'default_hooks.checkpoint'
        check_keys(kwargs, [*_ARGUMENTS, *_OF_SAVING], place)
        super().__init__(interval, *args, **kwargs)
        for key, meaning in (('interval', 'no regular checkpoint'), ('max_keep_ckpts', 'all')):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or (value < 1 and value != -1):
                raise SetupError(
                    f'{place}.{key}={value!r}, expected a whole number of 1 or more, or -1 for {meaning}; set it so'
                )

    def before_train(self, runner: Runner) -> None:
        """Resolves ``save_best``, removes a killed run's drafts, finds a resumed run's files."""
        out_dir = str(self.out_dir or runner.work_dir)
        if '://' in out_dir:
            raise SetupError(
                f"default_hooks.checkpoint.out_dir='{out_dir}' is no local folder, which "
                'AtomicCheckpointHook needs; give one, or set default_hooks.checkpoint.type='
                'CheckpointHook'
            )
        to_plain(getattr(runner.train_dataloader.dataset, 'metainfo', None), 'dataset.metainfo')
        self._name_metrics(runner)
        super().before_train(runner)
        self.out_dir = str(self.out_dir)
        self._due = False
        self._surplus: list[Path] = []
        self._stale_best: dict[str, set[str]] = {}
        self._join_names(runner)
        if is_main_process():
            for folder in {Path(runner.work_dir), Path(self.out_dir)}:
                for path in [path for path in folder.iterdir() if _DRAFTS.fullmatch(path.name)]:
                    path.unlink(missing_ok=True)
        if runner._resume:
            self._find_files(runner)
            if self._validation_is_due(runner):
                runner.logger.info(
                    'The checkpoint was written before its validation: validating now.'
                )
                runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Saves the best checkpoint, then this iteration's checkpoint again, with its metrics."""
        if not hasattr(self, '_surplus'):  # a validation outside training
            return
        runner.message_hub.update_info('checkpoint_validated', self._now(runner))
        self._saved_at = None
        super().after_val_epoch(runner, metrics or {})
        here = str(Path(self.out_dir, self.filename_tmpl.format(self._now(runner))))
        if self.last_ckpt == here and self._saved_at is None:
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, self._now(runner), meta)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Converts the checkpoint to plain types and removes the folder from file names in it."""
        info = checkpoint['message_hub']['runtime_info']
        for key, value in list(info.items()):
            if key == 'last_ckpt' or key.startswith('best_ckpt'):
                info[key] = value and os.path.basename(value)
                continue
            try:
                to_plain(value, key)
            except SetupError as error:  # another hook's private note must not end the run
                del info[key]
                print_log(f'Not saved in the checkpoint: {error}', 'current', 30)
        resumed = checkpoint['message_hub']['resumed_keys']
        kept = info.keys() | checkpoint['message_hub']['log_scalars'].keys()
        checkpoint['message_hub']['resumed_keys'] = {k: v for k, v in resumed.items() if k in kept}
        for key in list(checkpoint):
            checkpoint[key] = to_plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Converts the message hub back to MMEngine's types; other checkpoints pass unchanged."""
        for key in ('meta', 'message_hub'):
            if key in checkpoint:
                checkpoint[key] = from_plain(checkpoint[key])

    # -- writing -------------------------------------------------------------------------------

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Saves at the interval, or when the update is complete that the interval falls into."""
        if self.by_epoch:
            return
        due = self.every_n_train_iters(runner, self.interval, self.save_begin) or (
            self.save_last and self.is_last_train_iter(runner)
        )
        self._due = due or self._due
        if self._due and not is_accumulating(runner):
            self._due = False
            runner.logger.info(f'Saving checkpoint at {runner.iter + 1} iterations')
            self._save_checkpoint(runner)

    def save_between(self, runner: Runner, step: int) -> str:
        """Saves a checkpoint that the interval does not ask for, when a run is ended early.

        It does not count among ``max_keep_ckpts``. The run that resumes from it removes it after its next
        checkpoint, so that the two runs leave behind what an uninterrupted one does.

        Args:
            runner: The runner.
            step: Iterations that are trained.

        Returns:
            Path of the checkpoint.
        """
        name = self.filename_tmpl.format(step)
        runner.message_hub.update_info(_BETWEEN, step)
        self._write(runner, name, dict(epoch=runner.epoch, iter=step))
        return str(Path(self.out_dir, name))

    def _write(self, runner: Runner, name: str, meta: dict) -> None:
        """Writes a checkpoint, then its name to ``last_checkpoint``, then removes surplus ones."""
        if not isinstance(runner, _AtomicRunner):  # after a validation it is one already
            runner = _AtomicRunner(runner)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            **self.args,
        )
        path = Path(self.out_dir, name)
        surplus, self._surplus = self._surplus, []
        if not is_main_process():
            return
        write_whole(
            Path(runner.work_dir, 'last_checkpoint'), os.path.relpath(path, runner.work_dir)
        )
        for other in surplus:
            if other != path:
                other.unlink(missing_ok=True)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        drop = []
        if self.max_keep_ckpts > 0:
            kept = [other for other in self.keep_ckpt_ids if other != step] + [step]
            drop, kept = kept[: -self.max_keep_ckpts], kept[-self.max_keep_ckpts :]
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(kept)
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        self._saved_at = step
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir, name))
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._surplus += [Path(self.out_dir, self.filename_tmpl.format(other)) for other in drop]
        self._write(runner, name, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        unknown = [key for key in self.key_indicators if key not in metrics]
        if unknown:
            raise SetupError(
                f"default_hooks.checkpoint.save_best='{unknown[0]}' is no metric of the "
                f'validation; choose among {", ".join(metrics)}'
            )
        # The base class removes the old best file before it writes the new one. So it does not get
        # to know the old file, which is removed here after the new one is complete.
        old = self._best_names()
        self._set_best_names(dict.fromkeys(old))
        super()._save_best_checkpoint(_AtomicRunner(runner), metrics)
        new = self._best_names()
        self._set_best_names({key: new[key] or old[key] for key in new})
        for key, path in new.items():
            if path is None or not is_main_process():
                continue
            stale = self._stale_best.pop(key, set()) | ({old.get(key)} - {None})
            for file in stale - {path}:
                Path(file).unlink(missing_ok=True)
                runner.logger.info(f'The previous best checkpoint {file} is removed')

    # -- state ---------------------------------------------------------------------------------

    def _name_metrics(self, runner: Runner) -> None:
        model = bare_model(runner)
        predicting = getattr(model, 'predicting_network', None)
        if not self.save_best or predicting is None:
            return
        names = {
            key: key if '/' in key or key == 'auto' else f'{predicting}/{key}'
            for key in self.save_best
        }
        self.save_best = self.key_indicators = list(names.values())
        self.is_better_than = {names[key]: better for key, better in self.is_better_than.items()}

    def _best_names(self) -> dict[str, str | None]:
        if len(self.key_indicators) == 1:
            return {self.key_indicators[0]: self.best_ckpt_path}
        return {key: self.best_ckpt_path_dict.get(key) for key in self.key_indicators}

    def _set_best_names(self, names: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            (self.best_ckpt_path,) = names.values()
        else:
            self.best_ckpt_path_dict = dict(names)

    def _join_names(self, runner: Runner) -> None:
        """Replaces the folder of file names in the message hub by the folder of this run."""
        info = runner.message_hub.runtime_info
        for key in [key for key in info if key == 'last_ckpt' or key.startswith('best_ckpt')]:
            if info[key]:
                path = str(Path(self.out_dir, os.path.basename(info[key])))
                runner.message_hub.update_info(key, path)
        # MMEngine does not take it back, so a resumed run would not save its first validation's metrics
        self.last_ckpt = info.get('last_ckpt')
        if self.save_best:
            names = self._best_names()
            self._set_best_names(
                {
                    key: name and str(Path(self.out_dir, Path(name).name))
                    for key, name in names.items()
                }
            )

    def _find_files(self, runner: Runner) -> None:
        """Finds the files of the resumed run, also those that it did not come to remove."""
        between = runner.message_hub.runtime_info.pop(_BETWEEN, None)
        steps = sorted(
            step for step in self._steps('') if step <= self._now(runner) and step != between
        )
        if self.max_keep_ckpts > 0 and steps:
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(steps[-self.max_keep_ckpts :])
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
            dropped = steps[: -self.max_keep_ckpts]
            self._surplus = [Path(self.out_dir, self.filename_tmpl.format(s)) for s in dropped]
        if between is not None:
            self._surplus.append(Path(self.out_dir, self.filename_tmpl.format(between)))
        best = self._best_names() if self.save_best else {}
        for key, name in best.items():
            prefix = f'best_{key}_'.replace('/', '_')
            found = {
                str(Path(self.out_dir, prefix + self.filename_tmpl.format(step))): step
                for step in self._steps(prefix)
            }
            if name is not None and is_whole(Path(name)):
                for path, step in found.items():
                    if path != name and step <= self._now(runner) and is_main_process():
                        Path(path).unlink(missing_ok=True)
            self._stale_best[key] = set(found)

    def _now(self, runner: Runner) -> int:
        return runner.epoch if self.by_epoch else runner.iter

    def _validation_is_due(self, runner: Runner) -> bool:
        loop, now = runner.train_loop, self._now(runner)
        if runner.val_loop is None or now == 0 or now < loop.val_begin:
            return False
        end = loop.max_epochs if self.by_epoch else loop.max_iters
        validated = runner.message_hub.runtime_info.get('checkpoint_validated')
        return validated != now and (now % loop.val_interval == 0 or now == end)

    def _steps(self, prefix: str) -> list[int]:
        pattern = re.escape(prefix + self.filename_tmpl).replace(r'\{\}', r'(\d+)')
        found = [re.fullmatch(pattern, path.name) for path in Path(self.out_dir).glob('*')]
        return [int(match[1]) for match in found if match]


class _AtomicRunner:
    """A runner whose ``save_checkpoint`` writes to a draft first, see :func:`whole_file`."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        kwargs.pop('file_client_args', None)
        if not is_main_process():  # collects its part of the checkpoint and writes nothing
            self._runner.save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        path = Path(out_dir, filename)
        try:
            with whole_file(path) as draft:
                self._runner.save_checkpoint(str(draft.parent), draft.name, *args, **kwargs)
        except UnwritableFileError as error:
            found, fix = str(error).rsplit('; ', 1)
            latest = latest_checkpoint(self._runner.work_dir)
            before = 'no checkpoint was saved before'
            if latest is not None:
                before = f'--resume goes on from {latest}, which is whole'
            raise UnwritableFileError(f'checkpoint {found}; {before}; {fix}') from error
