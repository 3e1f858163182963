"""tools/selective_retraining.py on runs of three steps, in this process."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from PIL import Image
from shipped import shipped
from tiny_semi import tiny_data
from whole_runs import ROOT, Stop, Stopped, assert_same_checkpoint, call_tool

from mmseg_semi.cli import selective_retraining as command
from mmseg_semi.data.semi_dataset import image_names
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.labelling import Labeller
from mmseg_semi.runtime.training_stages import check_config, labels_config, of_stage

ST = ('--single-stage', '--tta')


def write_config(folder: Path) -> Path:
    """Four labelled and six unlabelled pictures, and a config whose re-training learns pseudo-masks."""
    cfg = tiny_data(folder, 'fixmatch', iterations=3, checkpoint_interval=1)
    names = (folder / 'data/unlabeled.txt').read_text().split()
    for name in names:  # what is never opened need not be there
        (folder / f'data/labels/train/{name}.png').unlink()
    model = {k: v for k, v in cfg.model.items() if k not in ('teacher', 'pseudo_label', 'mixing')}
    model['objectives'] = [dict(type='SupervisedObjective'), dict(type='PseudoMaskObjective')]
    cfg.model = model
    pipeline = list(cfg.train_dataloader.dataset.unlabeled.pipeline)
    pipeline[-1].pop('strong')
    pipeline[-1].weak = [dict(type='RandomErasing'), *pipeline[-1].weak]
    pipeline.insert(1, dict(type='LoadPseudoMask', num_classes=11))
    cfg.train_dataloader.dataset.unlabeled.pipeline = pipeline
    load = dict(type='LoadImageFromFile', imdecode_backend='pillow')
    rest = [[dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]]
    scales = [[dict(type='Resize', scale=scale) for scale in ((48, 36), (64, 48))]]
    cfg.test_pipeline = [load, *(step for (step,) in rest)]
    cfg.tta_model = dict(type='SegTTAModel')
    cfg.tta_pipeline = [load, dict(type='TestTimeAug', transforms=[*scales, *rest])]
    cfg.pop('work_dir')
    path = folder / 'tiny_stpp.py'
    cfg.dump(path)
    return path


def run(config: Path, work_dir: Path, *options: str) -> None:
    command.main([str(config), '--work-dir', str(work_dir), *options])


def refuse(capsys, config: Path, work_dir: Path, *options: str) -> str:
    """The one sentence with which the command ends."""
    with pytest.raises(SystemExit) as end:
        run(config, work_dir, *options)
    assert end.value.code == 2
    (sentence,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')
    ]
    return sentence


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Path:
    """A folder with a config and a finished run of all stages."""
    folder = tmp_path_factory.mktemp('stpp')
    config = write_config(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call_tool('selective_retraining', config, '--work-dir', 'run')
    return folder


def lists(work_dir: Path) -> tuple[list[str], list[str]]:
    return tuple(
        (work_dir / f'lists/{part}.txt').read_text().split() for part in ('reliable', 'remaining')
    )


def test_lists_and_masks(finished):
    work_dir = finished / 'run'
    names = (finished / 'data/unlabeled.txt').read_text().split()
    reliable, remaining = lists(work_dir)
    assert len(reliable) == 3 and sorted(reliable + remaining) == sorted(names)
    scores = json.loads((work_dir / 'stability.json').read_text())
    assert list(scores) == reliable + remaining
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    masks = sorted(path.name for path in (work_dir / 'pseudo_masks').iterdir())
    assert masks == sorted(f'{name}.png' for name in names)
    for name in names:
        mask = Image.open(work_dir / f'pseudo_masks/{name}.png')
        assert mask.mode == 'L' and mask.size == (48, 36)
        assert np.asarray(mask).max() < 11  # every pixel is labelled
    assert {path.stem for path in (work_dir / 'done').iterdir()} == {
        *('train_labels', 'rank', 'label_reliable'),
        *('train_reliable', 'label_remaining', 'train_all'),
    }


def batch_of(path: Path) -> dict:
    """A picture as a network takes it."""
    image = np.asarray(Image.open(path).convert('RGB'))[..., ::-1].transpose(2, 0, 1)
    size = image.shape[1:]
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, img_path=str(path)))
    return dict(inputs=[torch.from_numpy(image.copy())], data_samples=[sample])


def test_each_part_is_labelled_by_its_network(finished):
    """The reliable images by the first training, the remaining ones by the second; scores compare three checkpoints."""
    work_dir = finished / 'run'
    cfg = Config.fromfile(finished / 'tiny_stpp.py')
    files = [*(work_dir / f'labels/snapshots/iter_{n}.pth' for n in (1, 2))]
    model = labels_config(cfg).model
    networks = [Labeller(model, path) for path in (*files, work_dir / 'labels/iter_3.pth')]
    second = Labeller(cfg.model, work_dir / 'reliable/iter_3.pth')
    reliable, remaining = lists(work_dir)
    scores = json.loads((work_dir / 'stability.json').read_text())
    for name in (reliable[0], remaining[-1]):
        picture = finished / f'data/images/train/{name}.png'
        *earlier, last = (network(batch_of(picture)).numpy() for network in networks)
        ious = []
        for one in earlier:
            classes = np.union1d(one, last)
            both = [((one == c) & (last == c)).sum() for c in classes]
            either = [((one == c) | (last == c)).sum() for c in classes]
            ious.append(np.mean(np.divide(both, either)))
        assert scores[name] == pytest.approx(np.mean(ious), abs=1e-6)
        expected = last if name in reliable else second(batch_of(picture)).numpy()
        mask = np.asarray(Image.open(work_dir / f'pseudo_masks/{name}.png'))
        assert (mask == expected).all()


def test_trainings_are_ordinary_runs(finished):
    work_dir = finished / 'run'
    for stage, images in (('reliable', 3), ('all', 6)):
        saved = Config.fromfile(work_dir / stage / 'tiny_stpp.py').train_dataloader.dataset
        assert len(Path(saved.unlabeled.ann_file).read_text().split()) == images
        assert saved.unlabeled.pipeline[1].masks == str(work_dir / 'pseudo_masks')
        assert (
            'student/mIoU' in json.loads((work_dir / stage / 'results.json').read_text())['summary']
        )
    assert not (work_dir / 'all/snapshots').exists()
    first = Config.fromfile(work_dir / 'labels/tiny_stpp.py').train_dataloader
    assert first.dataset.unlabeled is None and first.batch_size == 2


def test_an_interrupted_command_goes_on(finished, tmp_path, monkeypatch, capfd):
    """The second training is stopped in front of its last iteration; then every file is as without a stop."""
    build, hooks = configs.build_runner, dict(reliable=Stop(2))

    def build_runner(cfg):
        runner = build(cfg)
        if Path(cfg.work_dir).name in hooks:
            runner.register_hook(hooks.pop(Path(cfg.work_dir).name))
        return runner

    monkeypatch.setattr(configs, 'build_runner', build_runner)
    monkeypatch.chdir(finished)
    with pytest.raises(Stopped):
        run(finished / 'tiny_stpp.py', tmp_path)
    assert not (tmp_path / 'done/train_reliable.json').exists()
    capfd.readouterr()
    run(finished / 'tiny_stpp.py', tmp_path)
    said = capfd.readouterr().out
    assert [f'stage {n} of 6' for n in (1, 2, 3)] == [
        line.partition(':')[0] for line in said.splitlines() if line.endswith('finished before')
    ]
    assert f'resuming from {tmp_path}/reliable/iter_2.pth' in said.splitlines()
    assert f'the final network: {tmp_path}/all/iter_3.pth' in said
    for name in ('labels', 'reliable', 'all'):
        assert_same_checkpoint(finished / f'run/{name}/iter_3.pth', tmp_path / f'{name}/iter_3.pth')
    for path in (finished / 'run/pseudo_masks').iterdir():
        assert path.read_bytes() == (tmp_path / 'pseudo_masks' / path.name).read_bytes()
    # a finished run only reports
    monkeypatch.setattr(configs, 'build_runner', None)
    run(finished / 'tiny_stpp.py', tmp_path)
    assert capfd.readouterr().out.count('finished before') == 6


def test_other_settings_in_the_same_folder(finished, capsys):
    config, work_dir = finished / 'tiny_stpp.py', finished / 'run'
    for options, words in (
        (['--reliable', '0.7'], 'holds a run with reliable=0.5, but this command has reliable=0.7'),
        (
            ['--cfg-options', 'randomness.seed=1', 'env_cfg.cudnn_benchmark=True'],
            'holds a run with randomness.seed=0, but this command has randomness.seed=1',
        ),
        (
            ['--cfg-options', 'model.objectives.1.weight=2.0'],
            'holds a run with no model.objectives.1.weight, but this command has model.objectives.1.weight=2.0',
        ),
    ):
        said = refuse(capsys, config, work_dir, *options)
        assert words in said and 'another --work-dir' in said


def test_settings_that_change_no_result_may_differ(finished, capfd):
    others = (
        *('train_dataloader.num_workers=1', 'val_dataloader.persistent_workers=True'),
        *('train_dataloader.pin_memory=True', 'train_dataloader.prefetch_factor=3'),
        *('env_cfg.cudnn_benchmark=True', 'default_hooks.logger.interval=7'),
        *('log_processor.window_size=3', 'log_level=ERROR'),
    )
    run(finished / 'tiny_stpp.py', finished / 'run', '--cfg-options', *others)
    assert capfd.readouterr().out.count('finished before') == 6


def stop(self) -> None:
    raise Stopped


def test_other_settings_replace_those_of_a_run_of_which_nothing_is_kept(
    tmp_path, monkeypatch, capsys
):
    config, work_dir = write_config(tmp_path), tmp_path / 'run'
    monkeypatch.setattr(command.SelectiveRetraining, 'train_labels', stop)
    for seed in (1, 2):
        with pytest.raises(Stopped):
            run(config, work_dir, '--cfg-options', f'randomness.seed={seed}')
        kept = json.loads((work_dir / 'settings.json').read_text())['content']
        assert kept['randomness'] == dict(seed=seed)
    (work_dir / 'labels').mkdir()
    torch.save({}, work_dir / 'labels/iter_1.pth')
    assert 'randomness.seed=2, but this command has randomness.seed=0' in refuse(
        capsys, config, work_dir
    )
    (work_dir / 'labels/iter_1.pth').unlink()
    (work_dir / 'done').mkdir()
    (work_dir / 'done/train_labels.json').write_text('{}')
    assert 'has randomness.seed=0' in refuse(capsys, config, work_dir)


def remove(work_dir: Path, *names: str) -> None:
    for path in (work_dir / name for name in names):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_training_is_repeated_with_all_that_follows_from_it(
    finished, tmp_path, monkeypatch, capsys
):
    work_dir, config = tmp_path / 'run', finished / 'tiny_stpp.py'
    shutil.copytree(finished / 'run', work_dir)
    remove(work_dir, 'labels', 'done/train_labels.json')
    later = [
        *('done/rank.json', 'done/label_reliable.json', 'done/train_reliable.json', 'reliable'),
        *('done/label_remaining.json', 'done/train_all.json', 'all'),
    ]
    said = refuse(capsys, config, work_dir)
    assert "stage 'train_labels' (train on the labelled images) would run again" in said
    paths = ', '.join(f'{work_dir}/{name}' for name in later)
    assert f'missing, but {paths} belong to the former run; remove them, or give another' in said
    # a folder without its note would be resumed at its end
    remove(work_dir, *(name for name in later if name != 'reliable'))
    assert f', but {work_dir}/reliable belong' in refuse(capsys, config, work_dir)
    remove(work_dir, 'reliable')
    monkeypatch.setattr(command.SelectiveRetraining, 'train_labels', stop)
    with pytest.raises(Stopped):
        run(config, work_dir)


def test_a_note_that_is_missing_alone(finished, tmp_path, capsys):
    work_dir, config = tmp_path / 'run', finished / 'tiny_stpp.py'
    shutil.copytree(finished / 'run', work_dir)
    remove(work_dir, 'done/train_reliable.json')
    paths = ['reliable', 'done/label_remaining.json', 'done/train_all.json', 'all']
    former = ', '.join(f'{work_dir}/{name}' for name in paths)
    assert f', but {former} belong to the former run' in refuse(capsys, config, work_dir)


def test_a_missing_file_says_what_to_remove(finished, tmp_path, capsys):
    work_dir, config = tmp_path / 'run', finished / 'tiny_stpp.py'
    shutil.copytree(finished / 'run', work_dir)
    remove(work_dir, 'done/label_remaining.json', 'done/train_all.json', 'all')
    for path in (work_dir / 'reliable').glob('*.pth'):
        path.unlink()
    assert (
        f'reliable has no complete checkpoint; remove {work_dir}/done/train_reliable.json and {work_dir}/reliable to '
        'train again'
    ) in refuse(capsys, config, work_dir)
    remove(work_dir, 'done/train_reliable.json', 'reliable', 'lists/reliable.txt')
    assert (
        f'lists/reliable.txt is missing; remove {work_dir}/done/rank.json and {work_dir}/done/label_reliable.json to rank'
    ) in refuse(capsys, config, work_dir)
    remove(work_dir, 'done/rank.json', 'done/label_reliable.json', 'labels/snapshots')
    assert (
        f'iter_1.pth of the first training are missing; remove {work_dir}/done/train_labels.json and {work_dir}/labels to'
    ) in refuse(capsys, config, work_dir)


def test_single_stage(tmp_path):
    """ST with test-time augmentation: one training on all pseudo-masks, and no ranking."""
    config = write_config(tmp_path)
    length = ['train_cfg.max_iters=1', 'train_cfg.val_interval=1', 'param_scheduler.0.end=1']
    run(config, tmp_path / 'run', '--single-stage', '--tta', '--cfg-options', *length)
    assert {path.name for path in (tmp_path / 'run').iterdir() if path.is_dir()} == {
        *('done', 'labels', 'lists', 'all', 'pseudo_masks')
    }
    assert len(list((tmp_path / 'run/pseudo_masks').iterdir())) == 6
    noted = json.loads((tmp_path / 'run/done/label_all.json').read_text())
    assert noted['masks'] == 6 and noted['checkpoint'] == 'labels/iter_1.pth'
    assert sum(noted['pixels'].values()) == 6 * 48 * 36
    assert (tmp_path / 'run/all/iter_1.pth').is_file()


@pytest.mark.parametrize(
    ('change', 'options', 'words'),
    [
        ('dataset.unlabeled = None', (), 'has no unlabelled images'),
        ('dataset.unlabeled = [dataset.unlabeled]', (), 'is a list of data sets'),
        ('dataset.unlabeled.pipeline.pop(1)', (), 'has no LoadPseudoMask'),
        ('cfg.model.objectives.pop()', (), "['SupervisedObjective'], none of which learns"),
        ('cfg.pop("test_pipeline")', (), "has no key 'test_pipeline'"),
        ('cfg.test_pipeline.pop(0)', (), 'test_pipeline makes no input of the unlabelled image'),
        ('cfg.stages = dict(first={})', (), "stages has the key 'first'; its keys are labels"),
        ('cfg.pop("tta_pipeline")', ST, "has no key 'tta_pipeline'"),
        ('cfg.default_hooks.checkpoint = None', (), 'has no default_hooks.checkpoint'),
        ('cfg.model.forward = "alone"', (), 'model.forward'),
        ('', ('--reliable', '1.5'), '--reliable 1.5: expected a share'),
        ('', ('--reliable', '0.1'), 'has 6 images, of which --reliable 0.1 leaves 0 reliable'),
        ('', ('--checkpoints', '1'), 'expected 2 or more'),
        ('', ('--checkpoints', '4'), '4 checkpoints of a training of 3 iterations'),
    ],
)
def test_mistakes_are_said_before_anything_runs(tmp_path, capsys, change, options, words):
    path = write_config(tmp_path)
    cfg = Config.fromfile(path)
    exec(change, dict(cfg=cfg, dataset=cfg.train_dataloader.dataset))
    cfg.dump(path)
    assert words in refuse(capsys, path, tmp_path / 'run', *options)
    assert not (tmp_path / 'run').exists()


def test_a_plain_training_is_sent_to_the_command(tmp_path, capsys):
    path = write_config(tmp_path)
    with pytest.raises(SystemExit) as end:
        call_tool('train', path, '--work-dir', tmp_path / 'run')
    assert end.value.code == 2
    assert 'train with mmseg-semi selective-retraining CONFIG' in capsys.readouterr().err


def test_own_folders_are_ranked_without_lists(tmp_path, monkeypatch):
    """Their images are chosen by position, and masks keep the path of their image."""
    config = write_config(tmp_path)
    root = tmp_path / 'data'
    (root / 'more/b').mkdir(parents=True)
    for index, path in enumerate(sorted((root / 'images/train').iterdir())[4:]):
        path.rename(root / f'more/{"b/" * (index % 2)}p{index}.png')
    content = dict(
        classes=[f'c{n}' for n in range(11)],
        labeled=dict(images='images/train', masks='labels/train'),
        unlabeled='more',
    )
    (root / 'data.json').write_text(json.dumps(content))
    cfg = Config.fromfile(config)
    for part in ('labeled', 'unlabeled'):
        source = cfg.train_dataloader.dataset[part]
        pipeline = [
            dict(type='LoadAnyLabels') if step.type == 'LoadSegLabels' else step
            for step in source.pipeline
        ]
        cfg.train_dataloader.dataset[part] = dict(
            type='FolderDataset', data_file=str(root / 'data.json'), part=part, pipeline=pipeline
        )
    cfg.dump(config)
    trained = []

    def train(self, cfg, stage):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        dataset.full_init()
        trained.append([image_names(one) for one in dataset.datasets])
        return {}

    # without trainings: which images they would have
    monkeypatch.setattr(command.SelectiveRetraining, '_train', train)
    monkeypatch.setattr(
        command, 'Labeller', lambda *_: lambda batch: torch.ones(36, 48, dtype=torch.uint8)
    )
    weights = tmp_path / 'run/labels/iter_3.pth'
    monkeypatch.setattr(command.SelectiveRetraining, '_last', lambda self, *_: weights)
    for number in (1, 2, 3):
        path = tmp_path / f'run/labels/{"snapshots/" * (number < 3)}iter_{number}.pth'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    run(config, tmp_path / 'run')
    names = ['more/b/p1', 'more/b/p3', 'more/b/p5', 'more/p0', 'more/p2', 'more/p4']
    reliable, remaining = lists(tmp_path / 'run')
    assert sorted(reliable + remaining) == names
    (labeled,), second, last = trained
    assert sorted(second[1]) == sorted(reliable) and last == [labeled, names]
    for name in names:
        assert (tmp_path / f'run/pseudo_masks/{name}.png').is_file()


@pytest.mark.parametrize('name', ['12', '46', '92', 'clips_12'])
def test_first_training_is_the_supervised_run(name):
    """But for batch statistics of labelled and pseudo-labelled images, which are apart in all trainings."""
    mine = shipped(ROOT / f'configs/stpp/camvid_{name}_lite0.py')
    first = labels_config(mine)
    baseline = shipped(ROOT / f'configs/supervised/camvid_{name}_lite0.py')
    assert first.model.pop('forward') == 'stream'
    for key in ('model', 'train_dataloader', 'train_cfg', 'param_scheduler', 'optim_wrapper'):
        assert first[key] == baseline[key], key
    assert mine.train_cfg == first.train_cfg


def test_published_trainings():
    cfg = shipped(ROOT / 'configs/stpp/voc_92_r50.py')
    check_config(cfg, 'voc_92_r50.py', 3, 0.5)
    first, second = labels_config(cfg), of_stage(cfg, 'reliable')
    assert (first.train_cfg.max_iters, second.train_cfg.max_iters) == (880, 52_880)
    assert first.train_dataloader.batch_size == second.train_dataloader.batch_size == 4  # a GPU
    assert first.model.objectives == [dict(type='SupervisedObjective')]
    assert cfg.train_cfg.max_iters == 105_280
    for one in (first, second, cfg):
        assert one.param_scheduler[0].end == one.train_cfg.max_iters
