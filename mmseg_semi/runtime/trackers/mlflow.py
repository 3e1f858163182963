"""MLflow: one run by its id, in a store that MLflow accepts."""

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from mmengine.logging import MMLogger
from mmengine.utils import scandir
from mmengine.visualization import MLflowVisBackend
from mmseg.registry import VISBACKENDS

from mmseg_semi.runtime.trackers.continued import ContinuedRun

DATABASE, ARTIFACTS = 'mlflow.db', 'mlartifacts'


@VISBACKENDS.register_module()
class ContinuedMLflowVisBackend(ContinuedRun, MLflowVisBackend):
    """MMEngine's ``MLflowVisBackend``, which continues the run of the same id.

    Without ``tracking_uri``, and without MLFLOW_TRACKING_URI in the environment, the run lies in ``mlflow.db`` and
    ``mlartifacts`` of the work folder. MMEngine would write files below the folder of the start's time, which MLflow 3.17
    refuses, and would copy that store into itself at the end of each run.

    A parameter that has been logged keeps its value, because MLflow changes none; the artifact ``config.py`` is the
    config of the last start.

    Args:
        save_dir, args, kwargs: See MMEngine's backend.
    """

    tracker = 'mlflow'

    def prepare(self, known: dict[str, Any]) -> None:
        if self._tracking_uri is None and not os.environ.get('MLFLOW_TRACKING_URI'):
            self._tracking_uri = f'sqlite:///{(self._work_dir / DATABASE).as_posix()}'
            # the experiment 'Default' exists, with its artifacts below the current folder
            self._exp_name = self._exp_name or self._work_dir.name
            if self._artifact_location is None:
                self._artifact_location = (self._work_dir / ARTIFACTS).as_uri()
            self._work_dir.mkdir(parents=True, exist_ok=True)
        elif self._tracking_uri is None:
            self._tracking_uri = os.environ['MLFLOW_TRACKING_URI']
        self._known = known

    def _init_env(self) -> None:
        import mlflow

        mlflow.set_tracking_uri(self._tracking_uri)
        chosen = os.environ.get('MLFLOW_RUN_ID')
        run = None if chosen or mlflow.active_run() else self._known_run(mlflow)
        if run is not None:
            # the next function that logs, which may be one of MMEngine's below, opens this run
            os.environ['MLFLOW_RUN_ID'] = run.info.run_id
        self._logged = set(run.data.params) if run else set()
        try:
            with _no_word_of_a_server():
                super()._init_env()
            if mlflow.active_run() is None:
                mlflow.start_run()
        finally:
            if run is not None:
                os.environ.pop('MLFLOW_RUN_ID', None)

    def _known_run(self, mlflow: Any) -> Any:
        """The run to continue; None if it has been deleted, or if the config names another experiment."""
        if 'id' not in self._known:
            return None
        client = mlflow.MlflowClient()
        try:
            run = client.get_run(self._known['id'])
        except mlflow.MlflowException:
            run = None
        else:
            experiment = client.get_experiment(run.info.experiment_id)
            if run.info.lifecycle_stage == 'deleted' or experiment.name != (
                self._exp_name or 'Default'
            ):
                run = None
        if run is None:
            MMLogger.get_current_instance().warning(
                f'MLflow has no run {self._known["id"]} in this experiment any more; a new run begins'
            )
        return run

    def _flatten(self, *args, **kwargs) -> dict:
        """The parameters without those that the run has."""
        found = super()._flatten(*args, **kwargs)
        return {key: value for key, value in found.items() if key not in self._logged}

    def close(self) -> None:
        """Stores the files of the work folder and ends the run; the store itself is not stored."""
        if not hasattr(self, '_mlflow'):
            return
        stores = self._stores()
        folder = Path(self.cfg.work_dir)
        for name in scandir(str(folder), self._artifact_suffix, True):
            path = folder / name
            if not any(path.absolute().is_relative_to(store) for store in stores):
                parent = Path(name).parent
                self._mlflow.log_artifact(str(path), '' if parent == Path() else parent.as_posix())
        self._mlflow.end_run()

    def _stores(self) -> list[Path]:
        """Folders of this machine in which MLflow keeps runs and artifacts."""
        run = self._mlflow.active_run()
        places = [self._tracking_uri]
        if run is not None:  # <root>/<run>/artifacts
            places.append(run.info.artifact_uri.rsplit('/', 2)[0])
        parts = [urlparse(place) for place in places]
        return [
            Path(unquote(part.path)).absolute() for part in parts if part.scheme in ('', 'file')
        ]

    def identity(self) -> dict[str, Any]:
        return {'id': self._mlflow.active_run().info.run_id}


@contextmanager
def _no_word_of_a_server():
    """MMEngine asks for any ``tracking_uri`` whether its server is running; a file has none."""

    def judge(entry: logging.LogRecord) -> bool:
        return 'mlflow server' not in str(entry.msg)

    logger = MMLogger.get_current_instance()
    logger.addFilter(judge)
    try:
        yield
    finally:
        logger.removeFilter(judge)
