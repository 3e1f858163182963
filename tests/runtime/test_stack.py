"""The adaptations of the OpenMMLab stack: above all, that a checkpoint cannot run code."""

import contextlib
import io
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import MMDistributedDataParallel, PretrainedInit
from mmengine.optim import PolyLR
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.utils.dl_utils import set_multi_processing
from mmengine.visualization import Visualizer
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import nn
from whole_runs import on_ranks

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import devices, stack
from mmseg_semi.runtime.checkpoints import from_plain, to_plain

ROOT = Path(__file__).resolve().parents[2]


class Payload:
    """Runs a command while it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.fixture(params=[True, False], ids=['zip', 'legacy'])
def malicious(request, tmp_path):
    """A checkpoint with whole weights that would create the file 'ran'."""
    path = tmp_path / 'nice.pth'
    ran = tmp_path / 'ran'
    weights = nn.Linear(2, 2).state_dict()
    content = {'state_dict': weights, 'meta': Payload(os.system, f'touch {ran}')}
    torch.save(content, path, _use_new_zipfile_serialization=request.param)
    return path, ran


def test_the_payload_works_where_it_is_allowed(malicious):
    path, ran = malicious
    torch.load(path, weights_only=False)
    assert ran.exists()  # else the tests below would prove nothing


def test_a_malicious_checkpoint_is_refused(malicious):
    path, ran = malicious
    for load in (
        lambda: stack.safe_load(path),
        lambda: load_checkpoint(nn.Linear(2, 2), str(path)),
        lambda: CheckpointLoader.load_checkpoint(str(path)),
        lambda: PretrainedInit(str(path))(nn.Linear(2, 2)),
    ):
        with pytest.raises(SetupError, match=r'nice\.pth.*(posix|os)\.system.*--trust'):
            load()
    assert not ran.exists()


def test_an_environment_variable_does_not_open_the_door(malicious, monkeypatch):
    path, ran = malicious
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    with pytest.raises(SetupError, match='system'):
        load_checkpoint(nn.Linear(2, 2), str(path))
    assert not ran.exists()


@pytest.mark.parametrize('scheme', ['open-mmlab://resnet101_v1c', 'https://host.invalid/nice.pth'])
def test_downloads_go_through_the_safe_loader(malicious, scheme, tmp_path, monkeypatch):
    path, ran = malicious
    fetched = []

    def download(url, target, *args, **kwargs):
        fetched.append(url)
        shutil.copy(path, target)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    with pytest.raises(SetupError, match='system'):
        CheckpointLoader.load_checkpoint(scheme)
    assert len(fetched) == 1 and not ran.exists()
    torch.save({'state_dict': {'weight': torch.ones(1)}}, path)
    shutil.rmtree(tmp_path / 'hub')
    assert CheckpointLoader.load_checkpoint(scheme)['state_dict']['weight'] == 1


def test_no_network(tmp_path, monkeypatch):
    def download(*args, **kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(
        SetupError, match=r'cannot be downloaded \(no route to host\).*put it at .*\.pth'
    ):
        CheckpointLoader.load_checkpoint('open-mmlab://resnet50_v1c')
    assert not any(tmp_path.rglob('*.pth'))


@pytest.mark.parametrize(
    'attribute',
    [(HistoryBuffer, '__init__'), (np.ndarray, 'tofile'), (HistoryBuffer, '__globals__')],
)
def test_getattr_reaches_nothing_but_the_statistics(attribute, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({'x': Payload(getattr, *attribute)}, path)
    with pytest.raises(SetupError, match=r'builtins\.getattr'):
        stack.safe_load(path)


def test_a_stock_mmengine_checkpoint_loads(tmp_path):
    hub = MessageHub('stock')
    hub.update_scalar('train/loss', np.float64(0.5))
    hub.update_info('iter', np.int64(3))
    hub.update_info('array', np.zeros(2, np.float32))
    content = {
        'meta': {'iter': 3, 'dataset_meta': {'classes': ('a', 'b')}},
        'state_dict': nn.Linear(2, 2).state_dict(),
        'message_hub': hub.state_dict(),
    }
    torch.save(content, tmp_path / 'stock.pth')
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / 'stock.pth'))
    buffer = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer) and buffer.mean() == 0.5
    assert loaded['message_hub']['runtime_info']['iter'] == 3
    assert loaded['meta'] == content['meta']


@pytest.mark.parametrize(
    ('damage', 'sentence'),
    [
        ('cut', 'cannot be read ('),
        ('empty', 'is empty, expected a file that torch.save wrote'),
        ('html', 'is a text file, expected a file that torch.save wrote'),
        ('pickle', 'is a Python pickle, expected a file that torch.save wrote'),
    ],
)
def test_a_damaged_checkpoint_is_a_sentence(damage, sentence, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({'x': torch.zeros(1000)}, path)
    data = path.read_bytes()
    contents = dict(
        cut=data[:-300],
        empty=b'',
        html='<!doctype html>é'.encode() * 300,
        pickle=pickle.dumps({'x': [1]}, protocol=4),
    )
    path.write_bytes(contents[damage])
    with pytest.raises(SetupError, match=re.escape(f"a.pth' {sentence}")):
        load_checkpoint(nn.Linear(1, 1), str(path))


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ([torch.zeros(1)], "a.pth' holds a list, expected a dict with 'state_dict'"),
        ({'epoch': 3, 'loss': 0.1}, "a.pth' holds epoch, loss, expected a dict with 'state_dict'"),
        ({}, "a.pth' holds nothing, expected a dict"),
        ({'state_dict': [1]}, "a.pth' has a list as 'state_dict', expected a dict"),
    ],
)
def test_a_checkpoint_without_weights_is_a_sentence(content, sentence, tmp_path):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(SetupError, match=re.escape(sentence)):
        load_checkpoint(nn.Linear(1, 1), str(tmp_path / 'a.pth'))


def test_a_folder_is_no_checkpoint(tmp_path):
    folder = tmp_path / 'x.pth'
    folder.mkdir()
    with pytest.raises(SetupError, match="x.pth' is a folder; .* in it, which it has none of"):
        load_checkpoint(nn.Linear(1, 1), str(folder))
    (folder / 'iter_6.pth').write_bytes(b'')
    with pytest.raises(SetupError, match='in it, such as iter_6.pth'):
        load_checkpoint(nn.Linear(1, 1), str(folder))


@pytest.mark.parametrize('key', [None, 'state_dict', 'model'])
def test_weights_of_any_layout_load(key, tmp_path):
    weights = nn.Linear(1, 1).state_dict()
    torch.save({key: weights} if key else weights, tmp_path / 'a.pth')
    content = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
    assert torch.equal((content[key] if key else content)['bias'], weights['bias'])


def test_unknown_names_are_sentences(tmp_path):
    with pytest.raises(SetupError, match="'.*gone.pth' does not exist"):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'gone.pth'))
    with pytest.raises(SetupError, match='resnet999.* is not in MMEngine'):
        CheckpointLoader.load_checkpoint('open-mmlab://resnet999')


def test_complete_weights(tmp_path):
    from mmengine.model import BaseModel

    class Model(BaseModel):
        def __init__(self, width):
            super().__init__()
            self.first = nn.Linear(2, 2)
            self.second = nn.Linear(2, width)

        def forward(self, inputs, data_samples=None, mode='tensor'):
            return inputs

    torch.save({'state_dict': Model(3).state_dict()}, tmp_path / 'three.pth')
    path = str(tmp_path / 'three.pth')
    with stack.complete_weights():
        load_checkpoint(Model(3), path)
        with pytest.raises(SetupError, match=r'fills 2 of the 4 tensors of Model.*second\.weight'):
            load_checkpoint(Model(4), path)
    load_checkpoint(Model(4), path)  # outside, MMEngine's own rule


def test_configs_inherit_from_mmseg(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("_base_ = 'mmseg::_base_/models/fcn_r50-d8.py'")
    assert Config.fromfile(path).model.type == 'EncoderDecoder'
    path.write_text("_base_ = 'mmseg_semi::nothing.py'")
    with pytest.raises(Exception) as info:  # noqa: B017
        Config.fromfile(path)
    assert 'does not support' not in str(info.value)  # the package is known, the file is not


@pytest.mark.parametrize(
    ('installed', 'sentence'),
    [
        ([], r'neither onedl-mmsegmentation nor mmsegmentation .*pip install'),
        (['mmsegmentation', 'onedl-mmsegmentation', 'torch'], r'both installed.*pip uninstall'),
    ],
)
def test_exactly_one_distribution(installed, sentence):
    with pytest.raises(SetupError, match=sentence):
        stack.check_distributions(installed)
    assert stack.check_distributions(['torch', 'mmsegmentation']) == 'mmsegmentation'
    assert stack.check_distributions() in stack.DISTRIBUTIONS


def test_quiet_imports_drop_one_line():
    with contextlib.redirect_stdout(io.StringIO()) as said:
        with stack.quiet_imports():
            print('Could not import OneDL')
            print('something else')
    assert said.getvalue() == 'something else\n'


def test_a_torchvision_of_another_torch(tmp_path):
    (tmp_path / 'torchvision.py').write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, f'{ROOT}/tools/train.py', 'config.py']
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {'PYTHONPATH': path}
    )
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'error: the installed torchvision was not built for torch' in done.stderr


def test_import_prints_nothing():
    code = 'import mmseg_semi'
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=os.environ
    )
    assert (done.returncode, done.stdout) == (0, '')
    assert 'MultiScaleDeformableAttention' not in done.stderr


def test_yapf_is_imported_although_another_process_is_writing_its_grammar(monkeypatch):
    seen = []

    def half_written(name):
        seen.append(name)
        if len(seen) < 3:
            raise EOFError('Ran out of input')
        return SimpleNamespace(FormatCode=str.strip)

    monkeypatch.setattr(stack.importlib, 'import_module', half_written)
    monkeypatch.setattr(stack, 'sys', SimpleNamespace(modules={}))  # the suite's yapf stays
    monkeypatch.setattr(stack.time, 'sleep', lambda seconds: None)
    stack.import_yapf()
    assert seen == ['yapf.yapflib.yapf_api'] * 3
    seen.clear()
    with pytest.raises(EOFError):
        stack.import_yapf(attempts=2)


def test_a_config_is_laid_out_once(monkeypatch):
    laid_out = []

    def format_code(text, **options):
        laid_out.append(text)
        return text, True

    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', format_code)
    stack.import_yapf()
    stack.import_yapf()
    cfg = Config(dict(iterations=1))
    assert cfg.pretty_text == cfg.pretty_text == 'iterations=1' and len(laid_out) == 1
    for i in range(2, 7):
        cfg.iterations = i
        assert cfg.pretty_text == f'iterations={i}'
    assert len(laid_out) == 6
    cfg.iterations = 1  # no longer among the last four
    assert cfg.pretty_text == 'iterations=1' and len(laid_out) == 7


def import_yapf_anew(rank: int) -> tuple[bool, str]:
    """In a process whose import of yapf fails once; whether it did, and what yapf then does."""
    for name in [name for name in sys.modules if name.split('.')[0] == 'yapf']:
        del sys.modules[name]

    class Once:
        failed = False

        def find_spec(self, name, path=None, target=None):
            if name == 'yapf.yapflib.yapf_api' and not self.failed:
                self.failed = True
                raise EOFError

    finder = Once()
    sys.meta_path.insert(0, finder)
    stack.import_yapf()
    import yapf

    return finder.failed, yapf.yapflib.yapf_api.FormatCode('a=1')[0]


def test_yapf_is_whole_after_a_failed_import():
    """Another attempt starts over: a part that an earlier one has left would hang on no package."""
    assert on_ranks(import_yapf_anew, 1) == [(True, 'a = 1\n')]


def test_warnings_that_no_user_can_act_on():
    """The stack's own calls, not texts of ours: a release that words them anew is noticed."""
    loss = dict(type='CrossEntropyLoss', avg_non_ignore=True)
    head = dict(type='FCNHead', in_channels=4, channels=4, num_classes=2, loss_decode=loss)
    wide, narrow = torch.zeros(1, 1, 9, 12), (36, 48)

    def provoke() -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.resetwarnings()
            warnings.simplefilter('always')
            if silenced:
                stack.silence_warnings()
            MODELS.build(head)
            Visualizer.get_instance('warned')  # which the hook asks for
            SegVisualizationHook(draw=False)
            resize(wide, narrow, mode='bilinear', align_corners=True)
            warnings.warn('the data are odd', stacklevel=1)
        return [str(warning.message) for warning in caught]

    silenced = False
    assert len(provoke()) >= 4
    silenced = True
    assert provoke() == ['the data are odd']


def warnings_of_a_rank(rank: int) -> tuple[list[str], list[str]]:
    """What MMEngine and PyTorch say on a rank of a run, first all of it, then what is left."""
    cfg = dict(model=dict(), env_cfg=dict(dist_cfg=dict(backend='gloo')))
    devices.init_distributed(Config(cfg), 'pytorch')
    found = []
    for silenced in (False, True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.resetwarnings()
            warnings.simplefilter('always')
            if silenced:
                stack.silence_warnings()
            for key in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
                os.environ.pop(key, None)
            multiprocessing.set_start_method('forkserver', force=True)
            set_multi_processing('fork', distributed=True)
            module = torch.nn.Linear(1, 1)
            optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
            PolyLR(optimizer, by_epoch=False, begin=0, end=9).step()
            MMDistributedDataParallel(module, broadcast_buffers=False)
        found.append([str(warning.message) for warning in caught])
    return tuple(found)


def test_warnings_of_ranks_that_no_user_can_act_on():
    ((before, after),) = on_ranks(warnings_of_a_rank, 1)
    for text in (
        'Multi-processing start method',
        'Setting OMP_NUM_THREADS',
        'Setting MKL_NUM_THREADS',
        'Detected call of `scheduler.step()` before',
        '`broadcast_buffers` is deprecated',
    ):
        assert any(text in said for said in before), text
    assert not after


def test_histories_have_an_end():
    """Also those of a checkpoint of version 0.1, which may be longer."""
    hub = MessageHub('histories')
    hub.update_scalar('train/loss', 0.0)
    assert hub.get_scalar('train/loss').max_length == stack.HISTORY
    values = np.arange(stack.HISTORY + 5.0)
    old = HistoryBuffer(values, np.ones_like(values), max_length=1_000_000)
    read = from_plain(to_plain({'loss': old}))['loss']
    assert read.data[0].tolist() == values[5:].tolist() and read.max_length == stack.HISTORY
    read.update(-1.0)
    assert len(read.data[0]) == len(read.data[1]) == stack.HISTORY and read.current() == -1.0
