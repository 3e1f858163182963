"""A run that is resumed as another experiment is refused; each fact by its name."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_semi import tiny_data
from whole_runs import on_ranks, train

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import devices
from mmseg_semi.runtime.run_record import KEY, compare


@pytest.fixture(scope='module')
def stopped(tmp_path_factory) -> Config:
    """A config of ten iterations whose run was stopped behind the second one."""
    cfg = tiny_data(
        tmp_path_factory.mktemp('stopped'), 'fixmatch', iterations=10, checkpoint_interval=2
    )
    train(cfg, Path(cfg.work_dir), stop=2)
    return cfg


def resumed(stopped: Config, tmp_path: Path, changes: dict) -> Path:
    work_dir = shutil.copytree(stopped.work_dir, tmp_path / 'run')
    cfg = stopped.copy()
    cfg.merge_from_dict(changes)
    train(cfg, work_dir, resume=True, stop=3)
    return work_dir


def test_a_checkpoint_holds_the_facts(stopped):
    state = torch.load(Path(stopped.work_dir, 'iter_2.pth'), weights_only=True)
    facts = dict(state['message_hub']['runtime_info'][KEY])
    labeled = facts.pop('labeled')
    assert labeled.partition(' ')[2].startswith('of hash ') and int(labeled.partition(' ')[0]) > 0
    assert int(facts.pop('unlabeled')) > 0
    assert facts == dict(
        ranks=1,
        batch=4,
        ratio=[2, 2],
        accumulation=1,
        optimiser='SGD',
        rate=0.02,
        iterations=10,
        objectives=['SupervisedObjective', 'SelfTrainingObjective'],
    )


CHANGES = {
    'rate': (
        {'optim_wrapper.optimizer.lr': 0.1},
        'learning rate (optim_wrapper.optimizer.lr): 0.02 then, 0.1 now',
    ),
    'length': ({'train_cfg.max_iters': 20}, '(train_cfg.max_iters): 10 then, 20 now'),
    'batch': (
        {
            'train_dataloader.batch_size': 6,
            'train_dataloader.sampler.batch_size': 6,
            'train_dataloader.sampler.source_ratio': [2, 4],
        },
        '(train_dataloader.batch_size): 4 then, 6 now; labelled and unlabelled images of a batch',
    ),
    'accumulation': ({'optim_wrapper.accumulative_counts': 2}, '1 then, 2 now'),
    'method': (
        {
            'model.objectives': [dict(type='SupervisedObjective')],
            'train_dataloader.dataset.unlabeled': None,
        },
        'objectives (model.objectives): SupervisedObjective, SelfTrainingObjective then, SupervisedObjective now',
    ),
}


@pytest.mark.parametrize('changed', CHANGES)
def test_another_experiment_is_refused(stopped, tmp_path, changed):
    changes, sentence = CHANGES[changed]
    if changed == 'method':
        changes |= {
            'train_dataloader.batch_size': 2,
            'train_dataloader.sampler': dict(
                type='MultiSourceSampler', batch_size=2, source_ratio=[1]
            ),
        }
    with pytest.raises(SetupError) as refusal:
        resumed(stopped, tmp_path, changes)
    assert sentence in str(refusal.value) and '--load-from' in str(refusal.value)
    assert {path.name for path in (tmp_path / 'run').glob('*.pth')} == {
        path.name for path in Path(stopped.work_dir).glob('*.pth')
    }


def test_other_lists_are_refused(stopped, tmp_path):
    pools = stopped.train_dataloader.dataset
    names = Path(pools.labeled.data_root, pools.labeled.ann_file).read_text().split()
    other = tmp_path / 'other.txt'
    other.write_text('\n'.join(names[:-1]) + '\n')
    with pytest.raises(
        SetupError,
        match=rf'labelled images: {len(names)} of hash \w+ then, {len(names) - 1} of hash',
    ):
        resumed(stopped, tmp_path, {'train_dataloader.dataset.labeled.ann_file': str(other)})


def test_what_may_change_does(stopped, tmp_path):
    changes = {
        'train_dataloader.num_workers': 1,
        'train_cfg.val_interval': 5,
        'log_level': 'WARNING',
    }
    resumed(stopped, tmp_path, changes)
    assert (tmp_path / 'run/iter_2.pth').is_file()


def test_a_checkpoint_without_facts_resumes(stopped, tmp_path):
    work_dir = shutil.copytree(stopped.work_dir, tmp_path / 'old')
    state = torch.load(work_dir / 'iter_2.pth', weights_only=True)
    del state['message_hub']['runtime_info'][KEY]
    state['message_hub']['resumed_keys'].pop(KEY, None)
    torch.save(state, work_dir / 'iter_2.pth')
    cfg = stopped.copy()
    cfg.optim_wrapper.optimizer.lr = 0.1
    train(cfg, work_dir, resume=True, stop=3)


def on_two(rank: int, path: str, work_dir: str) -> str:
    devices.init_distributed(Config.fromfile(path), 'pytorch')
    try:
        train(Config.fromfile(path), Path(work_dir), resume=True, stop=3)
    except SetupError as error:
        return str(error)
    return ''


def test_another_number_of_processes_is_refused_on_all_of_them(stopped, tmp_path):
    work_dir = shutil.copytree(stopped.work_dir, tmp_path / 'run')
    sentences = on_ranks(on_two, 2, stopped.filename, str(work_dir))
    assert all('number of processes: 1 then, 2 now' in sentence for sentence in sentences)


def test_facts_that_only_one_side_has_do_not_differ():
    compare({'ranks': 1, 'labeled': '3'}, {'ranks': 1, 'rate': 0.1})
    with pytest.raises(SetupError, match='number of processes: 1 then, 2 now'):
        compare({'ranks': 1, 'labeled': '3'}, {'ranks': 2, 'labeled': '3'})
