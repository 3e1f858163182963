"""The wheel, as it is built from a source archive: installed into a fresh environment and used from an empty folder.

The environment has the package from the wheel alone. Its dependencies are those of the interpreter that runs the tests,
by a path file; path files of that interpreter, such as the hook of an editable installation, are not read there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from miniatures import ROOT
from mmengine.config import Config
from shipped import FILES, PATHS

from mmseg_semi.preparing.quickstart import generate

SOURCES = ('pyproject.toml', 'setup.py', 'MANIFEST.in', 'README.md', 'LICENSE')
FOLDERS = ('mmseg_semi', 'configs', 'tools')
CACHES = shutil.ignore_patterns('__pycache__', '.mim')

IN_THE_ENVIRONMENT = """
import json, sys
from pathlib import Path
from mmengine.config import Config
import mmengine
import mmseg_semi
from mmseg_semi.errors import SetupError
from mmseg_semi.packaged import CONFIGS
from mmseg_semi.runtime.configs import load_config

def refusal(call, *args):
    try:
        call(*args)
    except SetupError as error:
        return str(error)

wrong = Path('wrong.py')
wrong.write_text("_base_ = 'mmseg_semi::ddfp/voc_73.py'")
clips = load_config('mmseg_semi::fixmatch/camvid_clips_12_lite0')
found = dict(
    package=mmseg_semi.__file__,
    config=Config.fromfile('mine.py').to_dict(),
    hub=mmengine.hub.get_config('mmseg_semi::ddfp/voc_732.py').to_dict(),
    evaluated=clips.val_dataloader.dataset.ann_file,
    split=[str(path) for path in mmseg_semi.data.splits.find_split('camvid 46 seed0')],
    wrong=refusal(Config.fromfile, wrong),
    wrong_name=refusal(load_config, 'mmseg_semi::voc_732'),
    missing=refusal(mmengine.hub.get_config, 'mmdet3d::second/some.py'),
)
json.dump(found, open('found.json', 'w'))
"""


class Installed(NamedTuple):
    """A fresh environment with the wheel."""

    wheel: Path
    scripts: Path
    packages: Path
    folder: Path

    def run(self, *command: str | Path) -> str:
        """Run a script of the environment in the empty folder; returns its output."""
        hidden = ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV')
        environment = {name: text for name, text in os.environ.items() if name not in hidden}
        done = subprocess.run(
            [self.scripts / command[0], *command[1:]],
            cwd=self.folder,
            env=environment | dict(OMP_NUM_THREADS='1', PATH=f'{self.scripts}:{os.defpath}'),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout


def backend(call: str, source: Path, out: Path) -> Path:
    """What setuptools builds, in a process of its own as pip does it."""
    out.mkdir(exist_ok=True)
    code = f'import sys, setuptools.build_meta as backend; backend.{call}(sys.argv[1])'
    subprocess.run([sys.executable, '-c', code, out], cwd=source, check=True, capture_output=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """The wheel of a source archive of this checkout."""
    folder = tmp_path_factory.mktemp('build')
    source = folder / 'source'
    source.mkdir()
    for name in SOURCES:
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=CACHES)
    with tarfile.open(backend('build_sdist', source, folder / 'sdist')) as archive:
        archive.extractall(folder / 'unpacked', filter='data')
    (unpacked,) = (folder / 'unpacked').iterdir()
    return backend('build_wheel', unpacked, folder / 'wheel')


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> Installed:
    home = tmp_path_factory.mktemp('environment')
    venv.create(home, with_pip=False)
    paths = sysconfig.get_paths('venv', vars=dict(base=str(home), platbase=str(home)))
    packages = Path(paths['purelib'])
    theirs = dict.fromkeys(sysconfig.get_paths()[name] for name in ('purelib', 'platlib'))
    (packages / 'dependencies.pth').write_text('\n'.join(theirs))
    scripts = Path(paths['scripts'])
    command = [sys.executable, '-m', 'pip', '--python', scripts / 'python', 'install', wheel]
    options = ['--no-deps', '--no-index', '--no-compile', '--quiet']
    subprocess.run(command + options, check=True, capture_output=True)
    return Installed(wheel, scripts, packages, tmp_path_factory.mktemp('empty'))


def test_it_holds_all_files_of_the_checkout(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith('/')}
        names = {name for name in names if '.dist-info/' not in name}
        modules = {
            path.relative_to(ROOT).as_posix()
            for pattern in ('*.py', '*.json', '*.yaml')
            for path in (ROOT / 'mmseg_semi').rglob(pattern)
            if '.mim' not in path.parts
        }
        beside = {
            f'mmseg_semi/.mim/{path.relative_to(ROOT).as_posix()}'
            for folder in ('configs', 'tools')
            for path in (ROOT / folder).rglob('*')
            if path.is_file() and path.suffix != '.pyc' and path.name != 'model_zoo.py'
        }
        made = {name for name in names if name.endswith(('/metafile.yml', '/model-index.yml'))}
        assert names - made == modules | beside
        for name in beside:
            assert archive.read(name) == (ROOT / name.removeprefix('mmseg_semi/.mim/')).read_bytes()


def test_the_index_names_every_config_that_trains(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

        def read(path: str) -> dict:
            return yaml.safe_load(archive.read(f'mmseg_semi/.mim/{path}'))

        models = [
            model
            for metafile in read('model-index.yml')['Import']
            for model in read(metafile)['Models']
        ]
    configs = [model['Config'] for model in models]
    assert not [config for config in configs if f'mmseg_semi/.mim/{config}' not in names]
    wanted = [path for path in PATHS if path.is_relative_to(ROOT / 'configs')]
    assert sorted(configs) == sorted(path.relative_to(ROOT).as_posix() for path in wanted)
    assert len({model['Name'] for model in models}) == len(models) > 300


def test_its_configs_are_those_of_the_checkout(installed):
    (installed.folder / 'mine.py').write_text("_base_ = 'mmseg_semi::ddfp/voc_732.py'\n")
    (installed.folder / 'check.py').write_text(IN_THE_ENVIRONMENT)
    installed.run('python', 'check.py')
    found = json.loads((installed.folder / 'found.json').read_text())
    shutil.rmtree(installed.folder)
    installed.folder.mkdir()
    package = installed.packages / 'mmseg_semi'
    assert found['package'] == str(package / '__init__.py')
    wanted = json.dumps(Config.fromfile(ROOT / 'configs/ddfp/voc_732.py').to_dict(), sort_keys=True)
    assert json.dumps(found['config'], sort_keys=True) == wanted
    assert json.dumps(found['hub'], sort_keys=True) == wanted
    configs = package / '.mim/configs'
    assert found['evaluated'] == str(configs / 'splits/camvid_clips/eval.txt')
    assert found['split'][0] == str(configs / 'splits/camvid/46/seed0/labeled.txt')
    assert re.search(
        r'voc_73.py. does not exist; did you mean mmseg_semi::\w+/voc_', found['wrong']
    )
    assert re.search(r'mean mmseg_semi::\w+/voc_732.py or', found['wrong_name'])
    assert found['missing'] and 'mmdet3d' in found['missing']
    shipped = {path.relative_to(configs) for path in configs.rglob('*.py')}
    ours = [path for path in FILES if path.is_relative_to(ROOT / 'configs')]
    assert shipped == {path.relative_to(ROOT / 'configs') for path in ours}


def test_its_command_trains_in_an_empty_folder(installed):
    shown = installed.run('mmseg-semi', '--help')
    assert installed.run('python', '-m', 'mmseg_semi', '--help') == shown
    first, rest = shown.split('\n\nfor data', 1)
    assert '  train ' in first and '  demo ' in first and '  splits ' in rest
    assert list(installed.folder.iterdir()) == []
    data = installed.folder / 'data/quickstart'
    generate(data, num_labeled=4, num_unlabeled=4, num_val=2, size=(64, 64), progress=False)
    options = ['train_cfg.max_iters=3', 'train_cfg.val_interval=3']
    options += ['default_hooks.checkpoint.interval=3', 'model.student.backbone.base_channels=8']
    options += ['model.student.backbone.stem_channels=8']
    options += ['model.student.decode_head.in_channels=(8,64)']
    installed.run(
        'mmseg-semi', 'train', 'mmseg_semi::quickstart/ddfp.py', '--cfg-options', *options
    )
    work_dir = installed.folder / 'work_dirs/quickstart/ddfp'
    results = json.loads((work_dir / 'results.json').read_text())
    assert (work_dir / 'iter_3.pth').is_file() and 'teacher/mIoU' in results['summary']
