"""All process-wide adaptations of the OpenMMLab stack, each with its reason.

No other module of the package changes an upstream module. :func:`apply` runs once, at the first
``import mmseg_semi``, before any module of this package imports mmseg.
"""

import contextlib
import functools
import http.client
import importlib
import importlib.metadata
import importlib.util
import io
import logging
import os
import re
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from mmseg_semi.errors import SetupError
from mmseg_semi.packaged import PREFIX, find_config
from mmseg_semi.runtime import run_folders

DISTRIBUTIONS = ('onedl-mmsegmentation', 'mmsegmentation')
_INSTALL = "pip install 'mmseg_semi[onedl]'"
_READ_ERRORS = (OSError, EOFError, RuntimeError, ValueError, LookupError, AttributeError)
_applied = False


def check_distributions(installed: Iterable[str] | None = None) -> str:
    """Check that exactly one distribution provides ``mmseg``.

    pip does not notice that the two conflict: both write the folder ``mmseg``, and the second
    installation mixes its files into the first.

    Args:
        installed: Names of the installed distributions; None looks them up.

    Returns:
        The name of the installed distribution.

    Raises:
        SetupError: If none or both are installed.

    Example:
        >>> check_distributions(['torch', 'mmsegmentation'])
        'mmsegmentation'
    """
    if installed is None:
        installed = [name for name in DISTRIBUTIONS if _is_installed(name)]
    found = [name for name in DISTRIBUTIONS if name in set(installed)]
    if not found:
        raise SetupError(
            f'neither {DISTRIBUTIONS[0]} nor {DISTRIBUTIONS[1]} is installed, one of them is '
            f'needed; install the maintained one with: {_INSTALL}'
        )
    if len(found) == 2:
        raise SetupError(
            f'{DISTRIBUTIONS[0]} and {DISTRIBUTIONS[1]} are both installed and overwrite each '
            "other's files, exactly one may be; fix this with: pip uninstall -y mmsegmentation "
            f'mmcv mmcv-lite mmengine {DISTRIBUTIONS[0]} onedl-mmcv onedl-mmengine && {_INSTALL}'
        )
    return found[0]


def apply() -> None:
    """Make all adaptations; a second call does nothing."""
    global _applied
    if _applied:
        return
    _applied = True
    stand_in_for_missing_operators()
    import_mmseg()
    name_packages()
    find_own_configs()
    never_install_packages()
    load_checkpoints_safely()
    resume_from_whole_checkpoints()
    keep_console_short()
    keep_starts_in_order()
    time_iterations_by_a_steady_clock()
    bound_histories()
    silence_warnings()
    infer_with_own_loaders()


def stand_in_for_missing_operators() -> None:
    """Make mmsegmentation 1.2.2 importable with an mmcv without compiled operators.

    It imports ``mmcv.ops`` unconditionally and ``mmcv-lite`` has no operators; onedl-mmsegmentation
    guards the import itself. Each missing operator is replaced by a function that raises an error.
    """
    if not _is_installed('mmsegmentation') or importlib.util.find_spec('mmcv._ext'):
        return

    class MissingOperators(type(sys)):
        def __getattr__(self, name: str) -> Any:
            if name.startswith('__'):
                raise AttributeError(name)

            def missing(*args, **kwargs):
                raise RuntimeError(f'mmcv.ops.{name} needs mmcv with compiled operators')

            return missing

    sys.modules.setdefault('mmcv.ops', MissingOperators('mmcv.ops'))


def import_mmseg() -> None:
    """Import mmseg, and torchvision if it is installed: MMEngine imports it when a runner starts.

    Raises:
        SetupError: If torchvision was built for another torch; then MMEngine cannot start a runner.
    """
    try:
        with quiet_imports():
            import mmseg.datasets
            import mmseg.models  # noqa: F401

            if importlib.util.find_spec('torchvision'):
                import torchvision  # noqa: F401
    except RuntimeError as error:
        if 'torchvision::' not in str(error):
            raise
        raise SetupError(
            f'the installed torchvision was not built for torch {torch.__version__} ({error}); '
            'install the one that belongs to it, see docs/installation.md, or: pip uninstall '
            'torchvision'
        ) from error


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Suppress two messages that imports inside the block always print; all others pass.

    onedl-mmsegmentation and onedl-mmpretrain print ``Could not import OneDL`` to stdout if an
    optional data set service is absent, which would corrupt commands that write JSON there.
    onedl-mmcv warns that it has no compiled operators, which this package does not need.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
            yield
    finally:
        for line in said.getvalue().splitlines(keepends=True):
            if line.strip() != 'Could not import OneDL':
                sys.stdout.write(line)


def import_yapf(attempts: int = 100) -> None:
    """Import yapf, which MMEngine formats configs with, beside other processes that do the same; its texts are
    remembered, see :func:`remember_texts`.

    The first import on a machine writes a grammar into the user's cache, not atomically: another
    rank could read half a file and end with an error.

    Args:
        attempts: Number of attempts, a tenth of a second apart.
    """
    for remaining in reversed(range(attempts)):
        try:
            api = importlib.import_module('yapf.yapflib.yapf_api')
            api.FormatCode = remember_texts(api.FormatCode)
            return
        except (EOFError, UnpicklingError, ValueError, LookupError, AttributeError):
            if not remaining:
                raise
            # submodules of a failed attempt would not be bound to the package of the next one
            for name in [name for name in sys.modules if name.split('.')[0] == 'yapf']:
                del sys.modules[name]
            time.sleep(0.1)


def remember_texts(format_code: Callable) -> Callable:
    """Let yapf format a text once.

    MMEngine formats the whole config at the start of a run several times, and anew for every checkpoint
    that it saves. The text is the same, and takes one to three seconds.

    Args:
        format_code: ``yapf_api.FormatCode``, or what this function returned for it.

    Returns:
        The function with a memory of its last four texts.

    Example:
        >>> calls = []
        >>> format_code = remember_texts(lambda text: calls.append(text) or text.strip())
        >>> format_code(' a'), format_code(' a'), calls
        ('a', 'a', [' a'])
    """
    if hasattr(format_code, 'remembered'):
        return format_code
    remembered: dict[tuple[str, str], Any] = {}

    @functools.wraps(format_code)
    def format_once(text: str, *args, **options):
        key = text, repr((args, options))
        if key not in remembered:
            result = format_code(text, *args, **options)
            while len(remembered) > 3:
                del remembered[next(iter(remembered))]
            remembered[key] = result
        return remembered[key]

    format_once.remembered = remembered
    return format_once


def name_packages() -> None:
    """Let MMEngine find ``mmseg::`` and ``mmseg_semi::`` configs.

    MMEngine looks for the distribution ``mmsegmentation``. The maintained one is named
    ``onedl-mmsegmentation``, so MMEngine would run ``pip install mmsegmentation`` over it. For a
    value that is no distribution, MMEngine looks for the module itself.
    """
    from mmengine.config import utils

    utils.MODULE2PACKAGE['mmseg'] = 'mmseg'
    utils.MODULE2PACKAGE.setdefault('mmseg_semi', 'mmseg_semi')


def find_own_configs() -> None:
    """Let ``_base_ = 'mmseg_semi::ddfp/voc_732.py'`` name a config of the imported package, as it is.

    MMEngine looks below the distribution's ``.mim``, which a checkout does not have, and which belongs to another
    installation if a checkout is imported beside an installed wheel. It also gives each part of such a base the scope
    ``mmseg_semi``. No registry has this scope, since the package registers into those of mmseg, so that MMEngine's own
    registries would not find the model.
    """
    from mmengine.config import Config

    find = Config._get_cfg_path

    def find_base(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            return str(find_config(cfg_path)), None
        return find(cfg_path, filename)

    Config._get_cfg_path = staticmethod(find_base)


def never_install_packages() -> None:
    """Let ``mmengine.hub`` refuse a package that is missing, where it would run ``pip install`` on its own.

    The package that it would install is the original one of OpenMMLab, whose files overwrite those of the maintained
    ones.
    """
    from mmengine.hub import hub
    from mmengine.utils import is_installed

    def require_package(package: str) -> None:
        if not is_installed(package):
            raise SetupError(
                f"the config asked for stands in the package '{package}', which is not installed; install it first "
                '(docs/installation.md)'
            )

    hub.install_package = require_package


# -- what is said ------------------------------------------------------------------------------

_IN_FILE_ONLY = re.compile(
    r'\n-+\nSystem environment:'
    r'|Config:\n'
    r'|Distributed training is not used, all SyncBatchNorm'
    r'|Hooks will be executed in the following order'
    r'|Exp name: '
    r'|Checkpoints will be saved to '
    r'|Saving checkpoint at '
    r'|SemiDataset: lists of '
    # learning rate and weight decay of each parameter, hundreds of lines
    r'|paramwise_options -- '
    r'|\S+ is skipped since its requires_grad=False'
    # an end of a validation, whose metrics ResultsHook tells
    r'|Iter\(val\) \[\d+/\d+\] .*teacher/'
    # weights of ImageNet whose classifier alone is left out
    r'|The model and loaded state dict do not match exactly\n\nunexpected key in source state_dict: '
    r'(?:(?:fc|head|classifier|_fc|_conv_head|_bn1)\.\w+(?:, )?)+\s*\Z'
    # warnings to the developers of MMEngine and of its configs
    r'|The prefix is not set in metric class'
    r'|"FileClient" will be deprecated'
    r'|"HardDiskBackend" is the alias'
)
"""Beginnings of messages that help to reproduce a run, or that no user can act on."""


def keep_console_short() -> None:
    """Let a runner write its environment, config and hooks to its log file alone.

    MMEngine logs some six hundred lines before the first iteration, equally to the file and to the terminal, where
    they hide what a user has to read. With ``log_level='DEBUG'`` the terminal shows them, too. A record whose attribute
    ``only`` is 'file' or 'console' goes there alone.
    """
    from mmengine.runner import Runner

    build = Runner.build_logger
    if hasattr(build, 'original'):
        return

    @functools.wraps(build)
    def build_logger(self, *args, **kwargs):
        logger = build(self, *args, **kwargs)
        for handler in logger.handlers:
            console = type(handler) is logging.StreamHandler
            kept = [f for f in handler.filters if not isinstance(f, _Reader)]
            handler.filters = [*kept, _Reader(console and handler.level > logging.DEBUG, console)]
            if isinstance(handler, logging.FileHandler):
                run_folders.say_once(handler)
        return logger

    build_logger.original = build
    Runner.build_logger = build_logger


def keep_starts_in_order() -> None:
    """Let each start of a run have a log folder of its own, behind those before; see :func:`.run_folders.later_stamp`."""
    from mmengine.dist import broadcast_object_list, is_main_process
    from mmengine.runner import Runner

    set_up = Runner.setup_env
    if hasattr(set_up, 'original'):
        return

    @functools.wraps(set_up)
    def setup_env(self, env_cfg):
        set_up(self, env_cfg)
        stamps = [self._timestamp]
        if is_main_process():
            stamps = [run_folders.later_stamp(self.work_dir, self._timestamp)]
        broadcast_object_list(stamps)
        self._timestamp = stamps[0]

    setup_env.original = set_up
    Runner.setup_env = setup_env


def time_iterations_by_a_steady_clock() -> None:
    """Let MMEngine measure iterations by a clock that is never set.

    By the time of day, an iteration in which the clock is set back takes a negative time, and the time left becomes negative.
    """
    from mmengine.hooks import iter_timer_hook

    iter_timer_hook.time = SimpleNamespace(time=time.perf_counter)


HISTORY = 10_000
"""Values of a logged quantity that a run keeps, in memory and in each checkpoint."""


def bound_histories() -> None:
    """Let MMEngine keep the last :data:`HISTORY` values of each logged quantity instead of a million.

    It copies all of them whenever one is added, and a checkpoint holds them: 20 quantities took 0.1 ms an iteration at 10,000
    values, 12 ms and 122 MiB at 400,000. Shown means are over ten values; the log files hold all.
    """
    from mmengine.logging import HistoryBuffer

    *before, _ = HistoryBuffer.__init__.__defaults__
    HistoryBuffer.__init__.__defaults__ = (*before, HISTORY)


class _Reader(logging.Filter):
    """Passes what the reader of a handler wants to see."""

    def __init__(self, short: bool, console: bool) -> None:
        super().__init__()
        self.short, self.place = short, 'console' if console else 'file'

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, 'only', self.place) != self.place:
            return False
        return not (self.short and _IN_FILE_ONLY.match(str(record.msg)))


_SILENCED = (
    # two classes are trained as two channels here; a head of one channel is refused
    'For binary segmentation, we suggest using`out_channels = 1`',
    # pictures of validations are off unless a config or --show-dir asks for them
    'The draw is False, it means that the hook for visualization',
    # true of crops of x + 1 pixels, which published configs have and others need not have
    'When align_corners=True, the output would more aligned',
    # of calls inside the stack, for its developers
    '``build_loss`` would be deprecated soon',
    # optional operators, which no network here needs
    'Fail to import ``MultiScaleDeformableAttention``',
    # compilers of PyTorch, which MMEngine and torch itself call
    '`torch.jit.script` is deprecated',
    '`torch.jit.interface` is deprecated',
    # of several processes: MMEngine's own call, which is right, and one thread each, as it is meant to be
    '`broadcast_buffers` is deprecated',
    'Setting OMP_NUM_THREADS environment variable',
    'Setting MKL_NUM_THREADS environment variable',
    # a study's runs are children of a server of processes
    'Multi-processing start method `fork` is different from the previous setting `forkserver`',
    # schedules count iterations, also where several make an update or mixed precision leaves the first one out
    'Detected call of `scheduler.step()` before `optimizer.step()`',
)
"""Beginnings of warnings of the stack that users of this package cannot act on."""


def silence_warnings() -> None:
    """Silence warnings of the stack that concern its developers, by name; all others are shown."""
    for text in _SILENCED:
        warnings.filterwarnings('ignore', message=re.escape(text))


# -- checkpoints -------------------------------------------------------------------------------

_loaded_name: ContextVar[str] = ContextVar('loaded_name', default='(none)')


def safe_load(file: Any, map_location: Any = None, name: str | None = None) -> Any:
    """``torch.load`` that never runs code from the file.

    It loads tensors and plain Python types, as ``weights_only=True`` does, and the other contents
    of an MMEngine checkpoint: numbers and arrays of NumPy, and ``HistoryBuffer``.

    Args:
        file: A path or an open binary file.
        map_location: As for ``torch.load``.
        name: The file's name, for errors; None takes its path.

    Returns:
        The loaded object.

    Raises:
        SetupError: If the file asks for any other Python object, or is no complete checkpoint.
    """
    name = name or (str(file) if isinstance(file, str | os.PathLike) else '(downloaded)')
    _loaded_name.set(name)
    try:
        with torch.serialization.safe_globals(_allowed_globals()):
            return torch.load(file, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        blocked = re.search(r'GLOBAL (\S+)', str(error))
        if blocked:
            raise SetupError(
                f"checkpoint '{name}' asks for the Python object {blocked[1]}, which could run "
                'code while it is loaded, so the file was not loaded; if you trust it, convert it '
                'to plain weights with: mmseg-semi to-weights-only '
                f'{name} OUT.pth --trust'
            ) from error
        raise _unreadable(name, error) from error
    except _READ_ERRORS as error:
        raise _unreadable(name, error) from error


def load_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> Any:
    """``torch.hub.load_state_dict_from_url`` through :func:`safe_load`.

    Raises:
        SetupError: As :func:`safe_load`; also if the file is not in the cache and cannot be
            downloaded. The message names the path to put it at.
    """
    folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
    cached = folder / (file_name or Path(url.partition('?')[0]).name)
    if not cached.exists():
        digest = torch.hub.HASH_REGEX.search(cached.name) if check_hash else None
        print(f'Downloading {url} to {cached}', file=sys.stderr)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(cached), digest and digest[1], progress)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            raise SetupError(
                f"checkpoint '{url}' cannot be downloaded ({error}); fetch it on another machine "
                f'and put it at {cached}'
            ) from error
    return safe_load(cached, map_location, name=f'{cached} (from {url})')


def load_checkpoints_safely() -> None:
    """Let MMEngine read every checkpoint by :func:`safe_load`.

    onedl-mmengine tries an allow-list that contains ``getattr``, by which a file can reach any
    function, and then falls back to unrestricted unpickling. mmengine 0.10.7 cannot load its own
    checkpoints with torch >= 2.6. All schemes (local, http, open-mmlab, torchvision, mmcls, s3,
    pavi) end in the three names that this function replaces. The remaining ones of mmengine 0.10.7
    (s3, pavi) call ``torch.load`` with torch's own default, which is safe since torch 2.6.
    """
    from mmengine.runner import checkpoint

    from mmseg_semi.runtime.checkpoints import check_content

    def _safe_torch_load(file, map_location=None, weights_only=None):
        return safe_load(file, map_location)

    def load_from_local(filename, map_location=None):
        path = Path(filename).expanduser()
        if path.is_dir():
            found = sorted(other.name for other in path.glob('*.pth') if other.is_file())
            raise SetupError(
                f"checkpoint '{filename}' is a folder; give the path of a .pth file in it"
                + (f', such as {found[-1]}' if found else ', which it has none of')
            )
        if not path.is_file():
            raise SetupError(
                f"checkpoint '{filename}' does not exist; give the path of a .pth file, or fix the "
                'config key that names it (load_from, or init_cfg.checkpoint of the model)'
            )
        return check_content(safe_load(path, map_location), filename)

    checkpoint._safe_torch_load = _safe_torch_load
    checkpoint.load_url = load_url
    checkpoint.load_from_local = load_from_local
    loader = checkpoint.CheckpointLoader
    loader.register_scheme('', load_from_local, force=True)
    for prefix in ('open-mmlab://', 'openmmlab://', 'torchvision://', 'modelzoo://', 'mmcls://'):
        loader.register_scheme(prefix, _with_known_name(loader._schemes[prefix]), force=True)


def _with_known_name(load: Callable) -> Callable:
    """The loader ``load``, which raises SetupError for a name that is not in its table."""

    @functools.wraps(load)
    def load_from_table(filename, map_location=None):
        try:
            return load(filename, map_location)
        except KeyError as error:
            raise SetupError(
                f"checkpoint '{filename}' is not in MMEngine's table of weights; fix the config "
                'key that names it (load_from, or init_cfg.checkpoint of the model)'
            ) from error
        except ImportError as error:
            raise SetupError(
                f"checkpoint '{filename}' needs the package {error.name}, which cannot be "
                'imported; install it, or download the file and give its path'
            ) from error

    return load_from_table


@contextlib.contextmanager
def complete_weights(needed: bool = True) -> Iterator[None]:
    """Inside the block, a checkpoint must fill every tensor of a segmentor; to resume and to test.

    MMEngine loads the tensors that fit by name and shape and only logs the others, so a test with a
    checkpoint of another architecture would run on random weights. Objectives and the counts of
    pseudo-labellers are excepted, because a plain checkpoint has none.

    Args:
        needed: False for a context that does nothing.

    Raises:
        SetupError: When a checkpoint is loaded that leaves a tensor of the model unchanged.
    """
    from mmengine.model import BaseModel
    from mmengine.runner import checkpoint

    load = checkpoint.load_state_dict

    @functools.wraps(load)
    def load_state_dict(module, state_dict, strict=False, logger=None):
        # An in-place copy increases a tensor's version. So this also works for modules that rename
        # keys or resize position tables while they load.
        before = {
            name: (tensor, tensor._version)
            for name, tensor in module.state_dict(keep_vars=True).items()
            if isinstance(tensor, torch.Tensor) and not name.endswith('num_batches_tracked')
        }
        load(module, state_dict, strict, logger)
        after = module.state_dict(keep_vars=True)
        missed = [
            name
            for name, (tensor, version) in before.items()
            if after.get(name) is tensor and tensor._version == version
        ]
        owned = ('objectives.', 'pseudo_label.')
        missed = [name for name in missed if not any(part in name for part in owned)]
        if missed and isinstance(module, BaseModel):
            raise SetupError(
                f"checkpoint '{_loaded_name.get()}' fills {len(before) - len(missed)} of the "
                f'{len(before)} tensors of {type(module).__name__} by name and shape, the first '
                f'one left is {missed[0]}: it is of another architecture; give the config that it '
                'was trained with, or another checkpoint'
            )

    checkpoint.load_state_dict = load_state_dict if needed else load
    try:
        yield
    finally:
        checkpoint.load_state_dict = load


def resume_from_whole_checkpoints() -> None:
    """Let ``resume = True`` take the newest complete checkpoint.

    MMEngine trusts the absolute path in ``last_checkpoint``, so a moved work_dir or a file cut
    short by a crash ends the run. See :func:`mmseg_semi.runtime.checkpoints.latest_checkpoint`.
    """
    import mmengine.runner
    from mmengine.runner import _flexible_runner, checkpoint, runner

    def find_latest_checkpoint(path):
        from mmseg_semi.runtime.checkpoints import latest_checkpoint

        latest = latest_checkpoint(path)
        return None if latest is None else str(latest)

    for module in (mmengine.runner, runner, checkpoint, _flexible_runner):
        module.find_latest_checkpoint = find_latest_checkpoint


def infer_with_own_loaders() -> None:
    """Let MMSegmentation's inference take models whose test pipeline begins with a loader of this package.

    ``MMSegInferencer`` looks for a transform of the name ``LoadImageFromFile`` and refuses a pipeline without one.
    ``inference_model`` replaces the name of the first transform by ``LoadImageFromNDArray`` if it gets an array; this
    has no ``value_range`` or ``bands``, and the name stays for the files that follow. Pipelines that begin with
    another loader are left to the original functions.
    """
    from mmseg.apis import inference, mmseg_inferencer

    prepare = inference._preprare_data
    inferencer = mmseg_inferencer.MMSegInferencer
    init_pipeline = inferencer._init_pipeline

    @functools.wraps(prepare)
    def prepare_data(imgs, model):
        from mmseg_semi.runtime import any_input

        if not any_input.is_own(model.cfg.test_pipeline):
            return prepare(imgs, model)
        return any_input.prepare(imgs, model.cfg.test_pipeline)

    @functools.wraps(init_pipeline)
    def build_pipeline(self, cfg):
        from mmseg_semi.runtime import any_input

        pipeline = cfg.test_dataloader.dataset.pipeline
        if not any_input.is_own(pipeline):
            return init_pipeline(self, cfg)
        return any_input.build(pipeline)

    inference._preprare_data = prepare_data
    inferencer._init_pipeline = build_pipeline


def _history_method(owner: Any, name: str) -> Any:
    """Replaces ``getattr`` in a checkpoint; allows only the four statistics of HistoryBuffer.

    A pickled HistoryBuffer holds them as ``getattr(HistoryBuffer, 'mean')`` and so on.
    """
    from mmengine.logging import HistoryBuffer

    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(HistoryBuffer, name)
    raise UnpicklingError(f'GLOBAL builtins.getattr was called for {owner}.{name}')


def _allowed_globals() -> list:
    from mmengine.logging import HistoryBuffer

    multiarray = np._core.multiarray if hasattr(np, '_core') else np.core.multiarray
    allowed = [HistoryBuffer, np.ndarray, np.dtype, (_history_method, 'builtins.getattr')]
    # Files written with numpy 1 say numpy.core where numpy 2 says numpy._core.
    for package in ('numpy.core', 'numpy._core'):
        allowed.append((multiarray._reconstruct, f'{package}.multiarray._reconstruct'))
        allowed.append((multiarray.scalar, f'{package}.multiarray.scalar'))
    allowed += sorted({type(np.dtype(code)) for code in '?bhilqBHILQefd'}, key=str)
    return allowed


def _unreadable(name: str, error: Exception) -> SetupError:
    # torch surrounds the unpickler's message with advice to switch the protection off.
    reason = str(error).partition('WeightsUnpickler error:')[2].strip() or str(error).strip()
    reason = reason.partition('\n')[0].partition('. ')[0].rstrip('.') or type(error).__name__
    from mmseg_semi.runtime.checkpoints import kind_of_file

    kind = kind_of_file(name)
    if kind is not None:
        return SetupError(
            f"checkpoint '{name}' is {kind}, expected a file that torch.save wrote; give another one or "
            'download it again'
        )
    if reason.startswith('[enforce fail'):  # a line of PyTorch's source, without words
        reason = 'PyTorch finds none of its records in it'
    what = 'is cut short or no PyTorch checkpoint'
    if zipfile.is_zipfile(name):  # whose directory stands at its end
        what = 'is a whole archive, but its content is damaged or not that of a checkpoint'
    return SetupError(
        f"checkpoint '{name}' cannot be read ({reason}); it {what}, use another one or download it again"
    )


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
