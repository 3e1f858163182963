"""tools/analysis/compare.py, without training."""

import json
import sys
from pathlib import Path

import pytest
from miniatures import load_tool
from mmengine.config import Config
from whole_runs import ROOT

from mmseg_semi.cli.analysis import runs
from mmseg_semi.cli.analysis.runs import options_of

KEY = 'train_dataloader.dataset'


@pytest.fixture
def tool():
    return load_tool('analysis/compare')


@pytest.fixture
def lists(tmp_path) -> Path:
    folder = tmp_path / 'mine'
    folder.mkdir()
    for kind in ('labeled', 'unlabeled'):
        (folder / f'{kind}.txt').write_text(f'{kind[0]}1\n{kind[0]}2\n')
    return folder


def run(tool, monkeypatch, *args) -> int:
    monkeypatch.setattr(sys, 'argv', ['compare', *map(str, args)])
    try:
        return tool.main() or 0
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize(
    ('name', 'kinds'),
    [
        ('fixmatch/voc_732.py', ('labeled', 'unlabeled')),
        ('ddfp/cityscapes_372.py', ('labeled', 'unlabeled')),
        ('supervised/camvid_46.py', ('labeled',)),
    ],
)
def test_the_lists_replace_those_of_the_config(tool, lists, name, kinds):
    options = options_of(str(ROOT / 'configs' / name), lists, 3)
    assert 'randomness.seed=3' in options and f'{KEY}.split={lists}' in options
    assert not [option for option in options if 'ann_file' in option or 'protocol' in option]
    # of a config that names lists one by one
    cfg = Config.fromfile(ROOT / 'configs' / name)
    dataset = cfg.train_dataloader.dataset
    del dataset['split']
    dataset.protocol = 'voc classic 732'
    for kind in kinds:
        dataset[kind].ann_file = f'{kind}.txt'
    cfg.dump(lists / 'old.py')
    options = options_of(str(lists / 'old.py'), lists, 3)
    assert f'{KEY}.protocol=None' in options
    listed = [option for option in options if 'ann_file' in option]
    assert listed == [f'{KEY}.{kind}.ann_file={lists / f"{kind}.txt"}' for kind in kinds]


@pytest.mark.parametrize(
    ('config', 'lost', 'words'),
    [
        (
            'fixmatch/voc_732.py',
            'unlabeled.txt',
            'mine holds no unlabeled.txt; mmseg-semi splits',
        ),
        ('own_data/ddfp_small.py', None, 'dataset.labeled reads no list'),
        ('fixmatch/no.py', None, 'does not exist'),
    ],
)
def test_mistakes_are_said_before_anything_runs(
    tool, lists, monkeypatch, capsys, config, lost, words
):
    monkeypatch.setattr(runs, 'start', lambda *_: pytest.fail('something ran'))
    if lost:
        (lists / lost).unlink()
    config = ROOT / 'configs' / config
    assert run(tool, monkeypatch, config, '--lists', lists, '--out', lists / 'out') == 2
    err = capsys.readouterr().err
    assert words in err and err.startswith('error: ') and err.count('\n') == 1


def test_what_a_run_stopped_at_is_repeated(tool, lists, monkeypatch, capsys):
    def fail(command, log):
        log.write_text('a log\nerror: list a.txt is empty; fill it\n')
        return 2

    monkeypatch.setattr(runs, 'start', fail)
    config = ROOT / 'configs/fixmatch/voc_732.py'
    assert run(tool, monkeypatch, config, '--lists', lists, '--out', lists / 'out') == 2
    err = capsys.readouterr().err
    assert 'train.log, which says: list a.txt is empty; fill it' in err


def test_lists_are_named_below_the_table(tool, lists):
    assert tool.origin(lists).startswith(f'`{lists}`: of no named protocol, 2 labelled, SHA-256 ')
    half = dict(count=2, sha256='0' * 64)
    manifest = dict(protocol='mine 2 seed 0', labeled=half, unlabeled=half)
    (lists / 'manifest.json').write_text(json.dumps(manifest))
    assert f'`{lists}`: mine 2 seed 0, 2 labelled' in tool.origin(lists)


# ------------------------------------------------------------------------------- reading a study


VALUES = dict(  # method -> network -> (list, seed) -> last mIoU
    supervised=dict(
        student={('a', 0): 30.0, ('a', 1): 32.0, ('b', 0): 40.0, ('b', 1): 42.0},
    ),
    fixmatch=dict(
        teacher={('a', 0): 33.0, ('a', 1): 31.0, ('b', 0): 44.0, ('b', 1): 46.0},
        student={('a', 0): 34.0, ('a', 1): 33.0, ('b', 0): 44.0, ('b', 1): 45.0},
    ),
    all_labels=dict(student={('full', 0): 50.0, ('full', 1): 44.0}),
)
CLASSES = ['road', 'car', 'pole', 'sign']


def write_scores(run: Path, name: str, networks: dict, clips: tuple = ('c1', 'c2')) -> None:
    entry = dict(images=1, pixels=[900, 80, 15, 5], networks=networks)
    content = dict(iter=20, classes=CLASSES, all=entry, clips={clip: entry for clip in clips})
    (run / name).write_text(json.dumps(content))


@pytest.fixture
def study(tmp_path) -> Path:
    """A finished study of three methods; the best checkpoint is 1 above the last."""
    for method, networks in VALUES.items():
        for name, seed in next(iter(networks.values())):
            run = tmp_path / method / f'my-{name}_run{seed}'
            run.mkdir(parents=True)
            summary, last, best = {}, {}, {}
            for network, values in networks.items():
                value = values[name, seed]
                row = dict(last=value, last_iter=20, best=value + 1, best_iter=10)
                summary[f'{network}/mIoU'] = row
                iou = [90.0, value, None if seed else 10.0, value / 10]
                last[network] = dict(mIoU=value - 5, aAcc=80.0, IoU=iou)
                best[network] = dict(last[network], mIoU=value - 4)
            (run / 'results.json').write_text(json.dumps(dict(summary=summary)))
            (run / 'done.json').write_text(json.dumps(summary))
            write_scores(run, 'pool_iter_20.json', last)
            write_scores(run, 'pool_best_teacher_mIoU_iter_10.json', best)
    content = dict(
        methods=['supervised', 'fixmatch', 'all_labels'],
        reference=['supervised'],
        all_labels='all_labels',
    )
    (tmp_path / 'study.json').write_text(json.dumps(content))
    return tmp_path


def rows_of(tool, folder, images='val', **options) -> dict:
    numbers = tool.compare(folder, pool=images == 'pool', **options)
    return {(row['method'], row['network']): row for row in numbers['tables'][images]['rows']}


def test_pairs_lists_and_headroom(tool, study):
    rows = rows_of(tool, study)
    assert list(rows) == [
        ('supervised', 'student'),
        ('fixmatch', 'teacher'),
        ('fixmatch', 'student'),
        ('all_labels', 'student'),
    ]
    row = rows['fixmatch', 'teacher']
    # by hand: 33, 31, 44, 46 against the student's 30, 32, 40, 42
    assert row['last']['mean'] == pytest.approx(38.5)
    assert row['last']['sd'] == pytest.approx((((5.5**2) + 7.5**2 + 5.5**2 + 7.5**2) / 3) ** 0.5)
    assert row['last']['by_list'] == {'my-a': 32.0, 'my-b': 45.0}
    assert (row['last']['worst_list'], row['last']['worst']) == ('my-a', 32.0)
    assert row['best']['mean'] == pytest.approx(39.5)
    found = row['against']['supervised']
    assert (found['pairs'], found['above'], found['smallest']) == (4, 3, -1.0)
    assert found['mean'] == pytest.approx((3 - 1 + 4 + 4) / 4)
    # all labels: 50 with seed 0, 44 with seed 1, for both lists
    headroom = (20 + 12 + 10 + 2) / 4
    assert row['recovered'] == pytest.approx(100 * 2.5 / headroom)
    assert rows['all_labels', 'student']['against']['supervised'] is None  # no list in common
    # a network is compared with the reference's network of its name
    other = rows_of(tool, study, reference=['fixmatch'])['supervised', 'student']
    assert other['against']['fixmatch']['mean'] == pytest.approx(-(4 + 1 + 4 + 3) / 4)


def test_scores_of_the_pool(tool, study, tmp_path, capsys):
    files = (tmp_path / 'out.md', tmp_path / 'out.json')
    rows = rows_of(tool, study, 'pool', files=files)
    row = rows['fixmatch', 'student']
    assert row['last']['mean'] == pytest.approx(39.0 - 5) and row['best']['mean'] == 35.0
    # four classes have pixels; a third of them is one: sign, with 5 pixels
    numbers = json.loads(files[1].read_text())
    assert numbers['tables']['pool']['rarest_third'] == ['sign']
    assert row['rare_last']['mean'] == pytest.approx(3.9)
    assert row['against']['supervised']['rare']['mean'] == pytest.approx((4 + 1 + 4 + 3) / 40)
    # pole occurs in the runs of seed 0 only
    assert row['classes']['last'] == pytest.approx([90.0, 39.0, 10.0, 3.9])
    assert row['clips']['best'] == pytest.approx(dict(c1=35.0, c2=35.0))
    text, markdown = capsys.readouterr().out, files[0].read_text()
    assert 'Rarest third by pixels of the evaluated masks: sign.' in text
    line = next(line for line in markdown.splitlines() if line.startswith('| fixmatch | student'))
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert cells[:5] == ['fixmatch', 'student', '4', '33.5 (34.5)', '44.5 (45.5)']
    assert cells[7] == '33.5 (a)' and cells[9:11] == ['4 of 4', '+1.0'] and cells[-1] == '27 %'


def test_runs_that_are_not_finished_are_left_out(tool, study, capsys):
    (study / 'fixmatch/my-a_run0/done.json').unlink()
    row = rows_of(tool, study)['fixmatch', 'teacher']
    assert row['runs'] == 3 and row['against']['supervised']['pairs'] == 3
    assert 'Not finished, left out: fixmatch/my-a_run0.' in capsys.readouterr().out
    # without a study, a run with fewer iterations than its method's others
    (study / 'study.json').unlink()
    path = study / 'fixmatch/my-a_run0/results.json'
    path.write_text(path.read_text().replace('"last_iter": 20', '"last_iter": 10'))
    row = rows_of(tool, study, reference=['supervised'])['fixmatch', 'teacher']
    assert row['runs'] == 3


def test_without_headroom_there_is_no_share(tool):
    values = {('a', 0): 40.0}
    assert tool.recovered(values, {('a', 0): 45.0}, {0: 45.0}) is None
    assert tool.recovered(values, {('a', 0): 35.0}, {1: 45.0}) is None
    assert tool.recovered(values, {('a', 0): 35.0}, {0: 45.0}) == pytest.approx(50.0)


def test_mistakes_of_reading(tool, study, tmp_path, capsys, monkeypatch):
    empty = tmp_path / 'empty'
    empty.mkdir()
    for arguments, words in (
        ([empty], 'holds no finished run'),
        ([tmp_path / 'gone'], 'is no folder of runs'),
        ([study, '--reference', 'cct'], "there is no finished run of 'cct'"),
        (['a.py', '--lists', empty], '--lists without --out'),
    ):
        assert run(tool, monkeypatch, *arguments) == 2
        assert words in capsys.readouterr().err
    for path in study.rglob('pool_*.json'):
        path.unlink()
    assert run(tool, monkeypatch, study, '--pool') == 2
    assert 'has scores of the unlabelled images' in capsys.readouterr().err
    assert not run(tool, monkeypatch, study)
