"""``docs/custom_data.md``: its commands as they stand on the page, on generated folders."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image
from whole_runs import ROOT, call_tool

from mmseg_semi import cli
from mmseg_semi.runtime import devices

PAGE = ROOT / 'docs/custom_data.md'
COLORS = np.array([[0, 0, 0], [0, 255, 0], [128, 128, 128], [0, 128, 0], [255, 255, 255]], np.uint8)

# takes the place of the 600 steps
SHORT = [
    '--cfg-options',
    'model.iters_per_epoch=1',
    'train_cfg.max_iters=8',
    'train_cfg.val_interval=4',
    'default_hooks.checkpoint.interval=4',
]


def draw(path: Path, seed: int, mask: Path | None = None, deep: bool = False) -> None:
    """A scene of 64 x 48 pixels, its colours as in the page's YAML file."""
    blocks = np.random.default_rng(seed).integers(0, 5, (3, 4)).astype(np.uint8)
    labels = np.array(Image.fromarray(blocks).resize((64, 48), Image.Resampling.NEAREST))
    noise = np.random.default_rng(seed).integers(0, 30, (48, 64))
    image = (labels * 50 + noise).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.astype(np.uint16) * 256 if deep else image).save(path)
    if mask is not None:
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(COLORS[labels]).save(mask)


def make_bands(folder: Path) -> None:
    """The folders of the page's second YAML file."""
    for place in ('scenes', 'masks', 'archive'):
        (folder / place).mkdir()
    for i in range(4):
        values = np.random.default_rng(i).integers(0, 4000, (20, 30, 4)).astype(np.uint16)
        np.save(folder / f'scenes/{i}.npy', values)
        np.save(folder / f'archive/{i}.npy', values[::-1])
        Image.fromarray((values[..., 3] > 2000).astype(np.uint8)).save(folder / f'masks/{i}.png')


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The repository's configs and the folders that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs', ignore=shutil.ignore_patterns('splits'))
    own = tmp_path / 'data/own'
    (tmp_path / 'data/bands').mkdir(parents=True)
    for i in range(8):
        draw(own / f'photos/{i}.jpg', i, own / f'annotations/{i}.png')
    for i in range(4):
        draw(own / f'more_photos/u{i}.png', 20 + i)
        draw(own / f'archive/2023/v{i}.tif', 30 + i, deep=True)
    return tmp_path


def code_blocks() -> list[tuple[str, str]]:
    """Language and text of each block on the page."""
    return re.findall(r'^```(\w+)\n(.*?)^```', PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_as_written(project, capsys):
    blocks = code_blocks()
    assert ' '.join(kind for kind, _ in blocks) == (
        'yaml bash python bash bash python bash python yaml bash'
    )
    said = []
    for kind, text in blocks:
        file = re.match(r'# (\S+\.\w+)\n', text)
        if file:
            Path(file[1]).write_text(text)
            if 'bands:' in text:
                make_bands(Path(file[1]).parent)
        elif kind == 'python':
            exec(compile(text, PAGE.name, 'exec'), {})
        else:
            for line in text.splitlines():
                program, tool, *arguments = shlex.split(line.replace('iter_600', 'iter_8'))
                if program == 'mmseg-semi':
                    cli.main([tool, *arguments])
                    said.append(capsys.readouterr().out)
                    continue
                assert program == 'python'
                if arguments == ['configs/mine.py'] and 'train' in tool:
                    arguments += SHORT
                try:
                    call_tool(Path(tool).stem, *arguments)
                except SystemExit as exit_info:
                    assert not exit_info.code, line
                finally:
                    devices.end_workers()
                said.append(capsys.readouterr().out)
    described, checked = said[:2]
    assert 'data/bands/data.yaml: bands of 4,200 pixels of 7 images' in said[-1]
    assert 'labelled          6 images' in described and 'unlabelled        8 images' in described
    assert 'validation        2 images' in described
    assert [line.split()[0] for line in described.splitlines()[-4:]] == [
        'ground',
        'plant',
        'stone',
        'ignored:',
    ]
    assert 'problem' not in checked
    results = json.loads(Path('work_dirs/mine/results.json').read_text())
    assert 0 < results['summary']['teacher/mIoU']['last'] <= 100
    assert results['summary']['teacher/mIoU']['last_iter'] == 8
    longer = Config.fromfile('configs/mine_longer.py')
    assert longer.train_cfg.max_iters == 1200 and longer.model.iters_per_epoch == 150
    assert longer.param_scheduler[0].end == 1200
    with Image.open('work_dirs/mine/painted.png') as painted:
        assert painted.size == (64, 48)


def odd_mask(project: Path) -> None:
    Image.fromarray(np.full((48, 64, 3), 9, np.uint8)).save(project / 'data/own/annotations/3.png')


MISTAKES = {
    'no data file': (
        lambda project: (project / 'data/own/data.yaml').unlink(),
        r'data/own/data\.yaml does not exist; write it as docs/custom_data\.md shows',
    ),
    'a folder that is not there': (
        lambda project: (project / 'data/own/archive').rename(project / 'elsewhere'),
        r"data\.yaml: unlabeled\[1\] is 'archive', but the folder \S+ does not exist",
    ),
    'a colour that nothing maps': (
        odd_mask,
        r'1 of \d masks, the first is \S+3\.png, hold values .* #090909 \(3,072 pixels\); add them',
    ),
    'a class more than the network has': (
        lambda project: (project / 'configs/mine.py').write_text(
            (project / 'configs/mine.py').read_text().replace('num_classes=3', 'num_classes=2')
        ),
        r'dataset has 3 classes, but model\.student\.decode_head\.num_classes=2: set them equal',
    ),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes_are_one_sentence_before_the_first_iteration(project, capfd, mistake):
    for _, text in code_blocks():
        file = re.match(r'# (\S+\.\w+)\n', text)
        if file:
            Path(file[1]).write_text(text)
    damage, sentence = MISTAKES[mistake]
    damage(project)
    with pytest.raises(SystemExit) as exit_info:
        call_tool('train', 'configs/mine.py')
    assert exit_info.value.code == 2
    said = capfd.readouterr()
    assert 'Traceback' not in said.out + said.err
    (error,) = [line for line in said.err.splitlines() if line.startswith('error: ')]
    assert re.search(sentence, error), error
    assert not list(project.glob('work_dirs/mine/*.pth'))


def test_the_other_configs_and_test_time_augmentation(project):
    """What the page names beside its own commands."""
    (project / 'data/own/data.yaml').write_text(code_blocks()[0][1])
    large = Config.fromfile('configs/own_data/ddfp.py')
    assert large.model.student.backbone.depth == 50
    init_default_scope('mmseg')
    dataset = DATASETS.build(large.train_dataloader.dataset)
    assert (
        dataset[0]['inputs']['labeled'].shape == dataset[7]['inputs']['weak'].shape == (3, 512, 512)
    )
    samples = DATASETS.build({**large.val_dataloader.dataset, 'pipeline': large.tta_pipeline})[0]
    assert len(samples['inputs']) == 6
    assert all('gt_sem_seg' in sample for sample in samples['data_samples'])
