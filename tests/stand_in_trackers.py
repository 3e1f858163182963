"""Stand-ins for the packages of trackers, and a start of a run with them: they note the arguments with which runs are opened, and log nothing.

Each has the functions that MMEngine's backend and ours call, with the names and arguments of the versions that
docs/monitoring.md names.
"""

import os
import random
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend, Visualizer

from mmseg_semi.runtime.trackers import TrackersHook, follow

PACKAGES = (
    *('aim', 'clearml', 'dvclive', 'mlflow', 'neptune', 'neptune.types', 'pygit2', 'swanlab'),
    *('swanlab.integration', 'swanlab.integration.mmengine', 'torch.utils.tensorboard', 'wandb'),
)
VARIABLES = ('WANDB_RUN_ID', 'MLFLOW_TRACKING_URI', 'MLFLOW_RUN_ID', 'NEPTUNE_CUSTOM_RUN_ID')


class Calls(list):
    """(what, arguments) of every call."""

    def of(self, what: str) -> list[dict]:
        """Arguments of all calls of one name."""
        return [arguments for name, arguments in self if name == what]


def module(name: str, **members: Any) -> ModuleType:
    """A module of this name in ``sys.modules``."""
    made = sys.modules[name] = ModuleType(name)
    made.__dict__.update(members)
    return made


def start(folder: Path, kind: str, resume: bool = False, iteration: int = 0, **arguments) -> Any:
    """A run's first steps up to its first iteration.

    Args:
        folder: Work folder.
        kind: A backend of MMEngine's.
        resume: Whether the run is resumed.
        iteration: Iterations that the checkpoint has.
        arguments: Of the backend.

    Returns:
        The visualizer's backend.
    """
    cfg = config(dict(type=kind, **arguments), str(folder), resume)
    follow(cfg)
    time = folder / f'{len(list(folder.glob("run_*"))) + 1:06}'
    (folder / f'run_{time.name}').mkdir(parents=True)
    visualizer = Visualizer(vis_backends=cfg.visualizer.vis_backends, save_dir=str(time))
    visualizer.add_config(cfg)
    runner = SimpleNamespace(visualizer=visualizer, iter=iteration, work_dir=str(folder))
    TrackersHook().before_train(runner)
    return visualizer.get_backend(kind)


def config(backend: Any, work_dir: str = 'work', resume: bool = False, **hooks: Any) -> Config:
    return Config(
        dict(
            work_dir=work_dir,
            resume=resume,
            load_from='iter_4.pth' if resume else None,
            default_hooks=hooks or dict(trackers=dict(type='TrackersHook')),
            visualizer=dict(type='Visualizer', vis_backends=[backend]),
        )
    )


def wandb(calls: Calls) -> None:
    """wandb 0.31."""

    def init(**arguments: Any) -> Any:
        calls.append(('init', arguments))
        fallback = f'run{len(calls.of("init"))}'
        found.run = SimpleNamespace(
            id=arguments.get('id') or os.environ.get('WANDB_RUN_ID') or fallback,
            disabled=arguments.get('mode') == 'disabled',
            log_code=lambda name=None: calls.append(('code', {})),
            settings=SimpleNamespace(
                disable_code=arguments.get('settings', {}).get('disable_code', False)
            ),
        )

    config = SimpleNamespace(
        update=lambda values, allow_val_change: calls.append(
            ('config', dict(allow_val_change=allow_val_change))
        )
    )

    def log(values, commit=None) -> None:
        calls.append(('log', values))

    found = module('wandb', init=init, config=config, run=None, log=log, join=lambda: None)


def tensorboard(calls: Calls) -> None:
    """torch's writer of event files."""

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int | None = None) -> None:
            calls.append(('writer', dict(folder=folder, purge_step=purge_step)))

        def add_text(self, tag: str, text: str) -> None:
            calls.append(('text', dict(tag=tag)))

        def flush(self) -> None:
            calls.append(('flush', {}))

    module('torch.utils.tensorboard', SummaryWriter=SummaryWriter)


def clearml(calls: Calls) -> None:
    """clearml 2.1: a task seeds all generators and takes the signals over."""

    class Task:
        seed: int | None = 1337

        @classmethod
        def set_random_seed(cls, seed: int | None) -> None:
            cls.seed = seed

        @classmethod
        def init(cls, **arguments: Any) -> Any:
            calls.append(('init', arguments | {'seed': cls.seed}))
            for seed in (random.seed, np.random.seed, torch.manual_seed):
                seed(1337)
            signal.signal(signal.SIGTERM, lambda *_: None)
            number = len(calls.of('init'))
            return SimpleNamespace(
                id=arguments['reuse_last_task_id'] or f'task{number}',
                get_logger=lambda: None,
                connect_configuration=lambda values: None,
            )

    module('clearml', Task=Task)


def aim(calls: Calls) -> None:
    """aim 3.29."""

    class Run(dict):
        def __init__(self, run_hash=None, *, repo=None, experiment=None) -> None:
            calls.append(('run', dict(run_hash=run_hash, repo=repo, experiment=experiment)))
            self.hash = run_hash or f'hash{len(calls)}'
            self.experiment = experiment
            self.repo = SimpleNamespace(root_path=repo or '/here')

    module('aim', Run=Run)


def neptune(calls: Calls) -> None:
    """neptune 1.14."""

    class Values(dict):
        def __missing__(self, key: str) -> Any:
            return SimpleNamespace(upload=lambda file: None)

    def init_run(**arguments: Any) -> Any:
        calls.append(('init_run', arguments))
        return Values()

    module('neptune', init_run=init_run)
    module('neptune.types', File=SimpleNamespace(from_content=lambda text: None))


def dvclive(calls: Calls, user: bool = True, repository: bool = True) -> None:
    """dvclive 3.49, in a git repository whose commits have an author, or not.

    Args:
        calls: Notes.
        user: Whether git has a name and an e-mail.
        repository: Whether there is a repository.
    """

    class Live:
        def __init__(self, **arguments: Any) -> None:
            calls.append(('live', arguments))
            self.plots_dir = os.path.join(arguments['dir'], 'plots')

        def log_params(self, params: dict) -> None:
            pass

    class Repository:
        def __init__(self, path: str) -> None:
            pass

        @property
        def default_signature(self) -> Any:
            if not user:
                raise KeyError('user.name')
            return 'someone'

    module('dvclive', Live=Live)
    found = '.git' if repository else None
    module('pygit2', discover_repository=lambda *_: found, Repository=Repository)


def mlflow(calls: Calls) -> None:
    """mlflow 3.17: a run's parameters never change."""

    class MlflowException(Exception):
        pass

    runs: dict[str, Any] = {}
    experiments: dict[str, Any] = {}
    state = SimpleNamespace(active=None, experiment=None)

    class MlflowClient:
        def get_run(self, run_id: str) -> Any:
            if run_id not in runs:
                raise MlflowException(run_id)
            return runs[run_id]

        def get_experiment(self, number: str) -> Any:
            return next(one for one in experiments.values() if one.id == number)

    def start_run(run_id: str | None = None) -> Any:
        run_id = run_id or os.environ.pop('MLFLOW_RUN_ID', None)
        if run_id is None:
            run_id = f'run{len(runs) + 1}'
            root = state.experiment.artifact_location or '/elsewhere'
            info = SimpleNamespace(
                run_id=run_id,
                experiment_id=state.experiment.id,
                lifecycle_stage='active',
                artifact_uri=f'{root}/{run_id}/artifacts',
            )
            runs[run_id] = SimpleNamespace(info=info, data=SimpleNamespace(params={}))
        calls.append(('start_run', dict(run_id=run_id)))
        state.active = runs[run_id]
        return state.active

    def log_params(params: dict) -> None:
        known = (state.active or start_run()).data.params
        for key, value in params.items():
            if known.setdefault(key, str(value)) != str(value):
                raise MlflowException(f'Changing param values is not allowed: {key}')

    def create_experiment(name: str, artifact_location: str | None = None) -> None:
        experiments[name] = SimpleNamespace(
            id=str(len(experiments)), name=name, artifact_location=artifact_location
        )

    def end_run() -> None:
        state.active = None

    module(
        'mlflow',
        MlflowException=MlflowException,
        MlflowClient=MlflowClient,
        active_run=lambda: state.active,
        create_experiment=create_experiment,
        end_run=end_run,
        get_experiment_by_name=experiments.get,
        log_artifact=lambda path, folder: calls.append(('artifact', dict(path=path))),
        log_params=log_params,
        log_text=lambda text, name: None,
        set_experiment=lambda name: setattr(state, 'experiment', experiments[name]),
        set_tag=lambda key, value: state.active or start_run(),
        set_tracking_uri=lambda uri: calls.append(('uri', dict(uri=uri))),
        start_run=start_run,
        runs=runs,
    )


def swanlab(calls: Calls) -> None:
    """swanlab 0.10, whose backend is its own."""
    run = SimpleNamespace(id=None)

    def init(**arguments: Any) -> None:
        calls.append(('init', arguments))
        run.id = arguments.get('id', f'run{len(calls)}')

    class SwanlabVisBackend(BaseVisBackend):
        def __init__(self, save_dir: str | None = None, init_kwargs: dict | None = None) -> None:
            self._save_dir, self._init_kwargs = save_dir, init_kwargs or {}
            self._env_initialized = self._swanlab_initialized = False

        def _init_env(self) -> None:
            self._init_kwargs.setdefault('log_dir', self._save_dir)
            init(**self._init_kwargs)
            self._env_initialized = self._swanlab_initialized = True

        @property
        def experiment(self) -> Any:
            return SimpleNamespace(get_run=lambda: run, finish=lambda: calls.append(('finish', {})))

        def add_config(self, config: Any, **kwargs: Any) -> None:
            if not self._env_initialized:
                self._init_env()

    module('swanlab')
    module('swanlab.integration')
    module('swanlab.integration.mmengine', SwanlabVisBackend=SwanlabVisBackend)
    VISBACKENDS.register_module(module=SwanlabVisBackend, force=True)
