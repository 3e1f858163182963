"""Whole runs on two domains: exact resuming, two ranks, evaluation of each domain, plain models, and what a user gets wrong."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from test_distributed import (
    WORLD,
    Collectives,
    assert_close,
    move_teacher,
    observed_rank,
    share_omega,
)
from test_multi_domain import Kept
from tiny_domains import CLASSES, tiny_domains
from tiny_semi import tiny_runner
from whole_runs import (
    ROOT,
    assert_same_checkpoint,
    call_tool,
    logged,
    on_ranks,
    recorded_samples,
    train,
    whole_and_in_parts,
)

from mmseg_semi.data.randomness import derive_seed
from mmseg_semi.runtime import configs, devices
from projects.multi_domain import MultiDomainSampler
from projects.multi_domain.data import by_domain

N = 3
ALTERNATE = dict(schedule='alternate', turns=dict(road=1, scenes=2), iters_per_epoch=2)

# -- resuming --------------------------------------------------------------------------------------

CASES = {
    'joint': dict(methods=('ddfp', 'fixmatch'), num_workers=2),
    'counts': dict(methods=('mllc', 'mllc'), options=ALTERNATE),
    'separate statistics': dict(options=dict(separate_statistics=True), batch_sizes=(3, 2)),
    'alternate': dict(methods=('cct', 'cct'), batch_sizes=(3, 2), options=ALTERNATE),
    'alternate, workers': dict(
        methods=('dgcl', 'dgcl'), batch_sizes=(2, 3), options=ALTERNATE, num_workers=2
    ),
}


@pytest.mark.usefixtures('shallow')
@pytest.mark.parametrize('case', CASES)
def test_stopped_and_continued(tmp_path, case):
    cfg = tiny_domains(
        tmp_path, iterations=2 * N, checkpoint_interval=N, val_interval=N, **CASES[case]
    )
    train(cfg, tmp_path / 'whole')
    train(cfg, tmp_path / 'parts', stop=N)
    with recorded_samples(tmp_path / 'samples') as loaded:
        train(cfg, tmp_path / 'parts', resume=True)
        loaded = loaded()
    final = f'iter_{2 * N}.pth'
    state = assert_same_checkpoint(tmp_path / 'whole' / final, tmp_path / 'parts' / final)
    early = torch.load(tmp_path / 'parts' / f'iter_{N}.pth', weights_only=True)
    assert len(set(logged(state, 'loss'))) == 2 * N
    weights = state['state_dict']
    moved = {
        '.'.join(name.split('.')[:2])
        for name in weights
        if 'weight' in name and not torch.equal(weights[name], early['state_dict'][name])
    }
    assert {'shared.backbone', 'domains.road', 'domains.scenes'} <= moved
    results = state['message_hub']['runtime_info']['results']
    assert [entry['iter'] for entry in results] == [N, 2 * N]
    if not cfg.train_dataloader.num_workers:
        # nothing of the first half was loaded again
        assert len(loaded) == sum(
            cfg.train_dataloader.sampler.samplers[name].batch_size
            for i in range(N, 2 * N)
            for name, _ in sampler_of(cfg).turns.at(i)
        )


def sampler_of(cfg: Config) -> MultiDomainSampler:
    init_default_scope('mmseg')
    arguments = {k: v for k, v in cfg.train_dataloader.sampler.items() if k != 'type'}
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    return MultiDomainSampler(dataset, **(arguments | {'seed': cfg.randomness.seed}))


@pytest.mark.usefixtures('shallow')
def test_stopped_and_continued_on_two_ranks(tmp_path):
    cfg = tiny_domains(
        tmp_path,
        methods=('ddfp', 'fixmatch'),
        iterations=2 * N,
        checkpoint_interval=N,
        val_interval=2 * N,
    )
    on_ranks(whole_and_in_parts, 2, cfg.filename, tmp_path, N)
    final = f'iter_{2 * N}.pth'
    assert_same_checkpoint(tmp_path / 'whole' / final, tmp_path / 'parts' / final)


# -- ranks -----------------------------------------------------------------------------------------

RANKS = {
    'fixmatch': dict(),
    'fixmatch, alternate': dict(options=ALTERNATE),
    'cct': dict(methods=('cct', 'cct')),
    'cct, alternate': dict(methods=('cct', 'cct'), options=ALTERNATE),
    # the methods that exchange more than gradients; of nine iterations road has three, its last one with flow and banks
    'flows and banks': dict(methods=('ddfp_dgcl', 'ddfp_dgcl')),
    'flows and banks, alternate': dict(
        methods=('ddfp_dgcl', 'ddfp_dgcl'), options=ALTERNATE, iterations=9
    ),
    'counts and prototypes': dict(methods=('mllc', 'mllc')),
    # batch norms, whose statistics the ranks average; a head's pooling needs two images
    'separate statistics': dict(
        options=dict(separate_statistics=True), batch_sizes=(2, 2), model=dict(dropout=0.0)
    ),
}


@pytest.mark.parametrize('case', RANKS)
def test_two_processes_equal_one(tmp_path, case):
    """One process passes the groups of both ranks in turn and steps on the mean of their gradients."""
    settings = dict(batch_sizes=(2, 1), iterations=6, model=dict(norm='GN', dropout=0.0))
    settings |= RANKS[case]
    steps = settings['iterations']
    cfg = tiny_domains(tmp_path, checkpoint_interval=steps, **settings)
    cfg.param_scheduler = None
    if case == 'counts and prototypes':  # MLLC, see test_distributed.py
        for domain in cfg.model.domains.values():
            domain.memory_format = 'contiguous'
        cfg.optim_wrapper.optimizer.fused = False
    cfg.dump(cfg.filename)
    on_ranks(observed_rank, WORLD, cfg.filename, tmp_path)
    notes = [torch.load(tmp_path / f'rank{rank}.pth') for rank in range(WORLD)]

    losses, final = one_process(cfg, notes[0]['initial'])
    for rank, note in enumerate(notes):
        for step in range(steps):
            mine, theirs = losses[rank][step], note['losses'][step]
            assert mine.keys() == theirs.keys()
            for name in mine:
                values = (torch.tensor(log[name]) for log in (mine, theirs))
                assert_close(*values, f'rank {rank}, step {step}: {name}')
        for name, tensor in final.items():
            if not name.endswith('.nll'):  # for the log, a rank's own
                assert_close(tensor.double(), note['final'][name].double(), name)
        if cfg.model.schedule == 'joint':
            assert note['without_gradient'] == [[]] * steps
    assert losses[0] != losses[1]
    initial = notes[0]['initial']
    moved = {part_of(name) for name in final if not torch.equal(final[name], initial[name])}
    assert moved == set(map(part_of, final))


def part_of(name: str) -> str:
    """Such as domains.road.objectives.2.bank."""
    return '.'.join(name.split('.')[:5])


def one_process(cfg: Config, initial: dict) -> tuple[list[list[dict]], dict]:
    """Losses by rank and step, and the final state dict."""
    sampler = sampler_of(cfg)
    size, streams = sampler.batch_size, []
    for rank in range(WORLD):
        own = sampler_of(cfg)
        for part in own.samplers.values():
            part.rank, part.world_size = rank, WORLD
        streams.append(iter(own))
    model = MODELS.build(cfg.model).train()
    model.load_state_dict(initial)
    trained = [p for p in model.parameters() if p.requires_grad]
    sgd = torch.optim.SGD(trained, lr=0.02, momentum=0.9, weight_decay=1e-4)
    epochs = cfg.default_hooks.get('flow', {}).get('epochs')
    collectives = {name: Collectives(own, epochs) for name, own in model.domains.items()}
    names = list(collectives)
    statistics = [b for n, b in model.student.named_buffers() if 'running' in n or 'tracked' in n]
    losses = [[] for _ in range(WORLD)]
    for step in range(cfg.train_cfg.max_iters):
        turns = model.turns.at(step)
        batches = []
        for stream in streams:
            keys = itertools.islice(stream, size)
            batches.append(pseudo_collate([sampler.dataset[k] for k in keys if k is not None]))
        for name, own_step in turns:
            mllc = collectives[name].mllc
            if mllc is not None:
                index = names.index(name)
                seed = derive_seed(cfg.randomness.seed, index) if index else cfg.randomness.seed
                parts = [by_domain(batch)[name] for batch in batches]
                share_omega(model.domains[name], mllc, parts, own_step, seed)
        before, moved, gradients = [tensor.clone() for tensor in statistics], [], []
        for rank in range(WORLD):
            for tensor, value in zip(statistics, before, strict=True):
                tensor.copy_(value)
            model.start_step(step, cfg.randomness.seed, rank)
            for name, _ in turns:
                collectives[name].before_pass(rank)
            losses[rank].append(model.train_step(batches[rank], Kept(sgd)))
            gradients.append([parameter.grad for parameter in trained])
            sgd.zero_grad()
            for name, _ in turns:
                collectives[name].after_pass(rank)
            moved.append([tensor.clone() for tensor in statistics])
        for parameter, *ranks in zip(trained, *gradients, strict=True):
            if ranks[0] is not None:
                parameter.grad = sum(ranks) / WORLD  # in the order of the ranks' sum
        sgd.step()
        sgd.zero_grad()
        for tensor, *ranks in zip(statistics, *moved, strict=True):
            tensor.copy_(sum(ranks) / WORLD)
        for name, _ in turns:
            collectives[name].finish_step(step)
        if model.teacher is not None:
            move_teacher(model, step)
    return losses, model.state_dict()


# -- evaluation and plain models -------------------------------------------------------------------


@pytest.fixture(scope='module', params=[False, True], ids=['shared', 'separate statistics'])
def finished(request, tmp_path_factory):
    """A finished run: its config and its folder."""
    folder = tmp_path_factory.mktemp('finished')
    cfg = tiny_domains(
        folder,
        iterations=4,
        checkpoint_interval=4,
        options=dict(separate_statistics=request.param),
        model=dict(memory_format='contiguous'),  # in which the plain models are: equal bit for bit
    )
    cfg.default_hooks.report = dict(type='ReportHook')
    train(cfg, folder / 'run')
    return cfg, folder


def test_the_report_has_the_scores_of_every_domain(finished):
    """A confusion matrix would mix the classes of several; its sections are left out."""
    page = (finished[1] / 'run' / 'report.html').read_text()
    for name in (*CLASSES, 'mean'):
        assert f'<td>{name}/teacher<' in page
    assert '<h2>Classes</h2>' not in page and 'Validation mIoU' in page


def test_every_domain_is_validated_with_its_own_head(finished):
    cfg, folder = finished
    (entry,) = json.loads((folder / 'run' / 'results.json').read_text())['history']
    for network in ('teacher', 'student'):
        values = [entry[f'{name}/{network}/mIoU'] for name in CLASSES]
        assert entry[f'mean/{network}/mIoU'] == pytest.approx(np.mean(values))
    assert entry['mean/mIoU'] == entry['mean/teacher/mIoU']
    assert (folder / 'run' / 'best_mean_mIoU_iter_4.pth').is_file()


def test_the_command_tests_all_domains_or_some(finished, tmp_path):
    cfg, folder = finished
    checkpoint = folder / 'run' / 'iter_4.pth'
    (entry,) = json.loads((folder / 'run' / 'results.json').read_text())['history']
    del entry['iter']
    assert metrics_of_test(tmp_path / 'all', cfg.filename, checkpoint) == entry
    # a name of its own: MMEngine keeps the values of two runs of one name and second in one place
    own = ('test_cfg.domains=[scenes]', 'experiment_name=one')
    options = ('--network', 'student', '--cfg-options', *own)
    found = metrics_of_test(tmp_path / 'one', cfg.filename, checkpoint, *options)
    assert found['scenes/student/mIoU'] == entry['scenes/student/mIoU']
    assert not [key for key in found if 'road' in key or 'teacher' in key]


def metrics_of_test(folder: Path, *arguments) -> dict[str, float]:
    """The metrics that ``tools/test.py`` finds."""
    call_tool('test', *arguments[:2], '--work-dir', folder, *arguments[2:])
    (path,) = folder.glob('*/*.json')
    return {k: v for k, v in json.loads(path.read_text()).items() if 'time' not in k}


def test_each_domain_becomes_a_plain_model(finished, tmp_path, capsys):
    cfg, folder = finished
    checkpoint = folder / 'run' / 'iter_4.pth'
    (entry,) = json.loads((folder / 'run' / 'results.json').read_text())['history']
    call_tool('publish', cfg.filename, checkpoint, '--out', tmp_path)
    whole = MODELS.build(cfg.model).eval()
    load_checkpoint(whole, str(checkpoint), map_location='cpu')
    image = torch.randn(2, 3, 48, 64)
    for name, count in CLASSES.items():
        (weights,) = tmp_path.glob(f'joint_{name}_teacher-*.pth')
        plain = Config.fromfile(weights.with_suffix('.py'))
        assert plain.model.type == 'EncoderDecoder'
        assert 'projects' not in weights.with_suffix('.py').read_text()
        model = MODELS.build(plain.model).eval()
        loaded = load_checkpoint(model, str(weights), map_location='cpu')
        assert len(loaded['meta']['dataset_meta']['classes']) == count
        with torch.no_grad():
            assert torch.equal(model(image), whole.network('teacher', name)(image))
        plain.load_from, plain.work_dir = str(weights), str(tmp_path / name)
        plain.test_dataloader.num_workers = 0
        metrics = tiny_runner(plain).test()
        assert metrics['mIoU'] == entry[f'{name}/teacher/mIoU']
    call_tool(
        'publish', cfg.filename, checkpoint, '--out', tmp_path / 'one', '--domain', 'road',
        '--network', 'student',
    )  # fmt: skip
    assert [path.name[:19] for path in tmp_path.glob('one/*.pth')] == ['joint_road_student-']
    with pytest.raises(SystemExit):
        call_tool('publish', cfg.filename, checkpoint, '--out', tmp_path / 'one', '--domain', 'sea')
    assert '--domain sea: the model of config' in capsys.readouterr().err


def test_pictures_of_every_domain(tmp_path):
    cfg = tiny_domains(tmp_path, iterations=3, checkpoint_interval=3)
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    cfg.default_hooks.checkpoint.save_best = None
    cfg.custom_hooks = [dict(type='DomainPseudoLabelHook', interval=3)]
    train(cfg, tmp_path / 'run')
    for name in CLASSES:
        assert (tmp_path / 'run' / 'pseudo_labels' / name / 'iter_3.png').is_file()


# -- what a user gets wrong ------------------------------------------------------------------------


@pytest.fixture
def trial(tmp_path, capfd):
    """A config to be spoilt, and what ``tools/train.py`` then says."""
    cfg = tiny_domains(tmp_path, iterations=1, checkpoint_interval=1)

    def refused(*arguments) -> str:
        cfg.dump(cfg.filename)
        with pytest.raises(SystemExit) as exit_info:
            call_tool('train', cfg.filename, '--work-dir', tmp_path / 'run', *arguments)
        devices.end_workers()
        said = capfd.readouterr()
        sentences = [line for line in said.err.splitlines() if line.startswith('error: ')]
        assert exit_info.value.code == 2 and len(sentences) == 1, said.err
        assert not list(tmp_path.glob('run/*.pth'))
        return sentences[0].removeprefix('error: ')

    refused.cfg, refused.folder = cfg, tmp_path
    return refused


def domains_of(cfg: Config) -> dict:
    return cfg.train_dataloader.dataset.domains


def test_a_domain_without_labels(trial):
    (trial.folder / 'scenes' / 'data' / 'labeled.txt').write_text('')
    assert trial().startswith("domain 'scenes': train_dataloader.dataset.labeled.ann_file: list")
    domains_of(trial.cfg).scenes.labeled = None
    sentence = trial()
    assert sentence.startswith("domain 'scenes' has no labelled images")
    assert 'train_dataloader.dataset.domains.scenes.labeled' in sentence


def test_a_domain_without_classes(trial):
    for source in domains_of(trial.cfg).scenes.values():
        if isinstance(source, dict):
            source.type = 'BaseSegDataset'
    assert 'BaseSegDataset has no classes' in trial()


def test_a_domain_with_the_labels_of_another(trial):
    mask = trial.folder / 'scenes' / 'data' / 'labels' / 'train' / 'train01.png'
    labels = np.array(Image.open(mask))
    labels[5, 5] = 9
    Image.fromarray(labels).save(mask)
    sentence = trial()
    assert sentence.startswith("domain 'scenes': ") and 'train01.png' in sentence
    assert '9' in sentence and '6' in sentence


def test_validation_labels_of_another_domain(trial):
    trial.cfg.val_dataloader.scenes.dataset.data_root = str(trial.folder / 'road' / 'data')
    sentence = trial()
    assert sentence.startswith("domain 'scenes': ") and 'road/data' in sentence


def test_a_head_for_other_classes(trial):
    trial.cfg.model.domains.scenes.student.decode_head.num_classes = 7
    sentence = trial()
    assert sentence.startswith("domain 'scenes': ") and '6 classes' in sentence and '7' in sentence


def test_a_domain_with_labels_alone_and_objectives_that_need_more(trial):
    domains_of(trial.cfg).scenes.unlabeled = None
    trial.cfg.train_dataloader.sampler.samplers.scenes = dict(batch_size=2, source_ratio=[1])
    trial.cfg.train_dataloader.sampler.batch_size = trial.cfg.train_dataloader.batch_size = 6
    sentence = trial()
    assert sentence.startswith("domain 'scenes': objective 'selftrain' needs unlabelled images")


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (['model.schedule=alternate'], "model has schedule='alternate'"),
        (['train_dataloader.batch_size=4'], 'train_dataloader.batch_size=4'),
        (['default_hooks.step.type=SemiStepHook'], 'DomainStepHook'),
        (['val_cfg.domains=[sea]'], "val_cfg.domains=['sea']"),
    ],
)
def test_keys_that_do_not_fit(trial, options, expected):
    trial.cfg.train_cfg.val_interval = 1
    assert expected in trial('--cfg-options', *options)


def test_a_checkpoint_of_one_domain(trial):
    cfg = trial.cfg
    torch.save({'state_dict': {'backbone.stem.0.weight': torch.zeros(1)}}, trial.folder / 'a.pth')
    cfg.load_from = str(trial.folder / 'a.pth')
    assert 'the checkpoint is of one domain' in trial()


def test_projects_are_found_from_anywhere(tmp_path, monkeypatch):
    cfg = tiny_domains(tmp_path, iterations=1)
    import sys

    monkeypatch.setattr(sys, 'path', [path for path in sys.path if Path(path) != ROOT])
    monkeypatch.chdir(tmp_path)
    assert configs.load_config(cfg.filename).model.type == 'MultiDomainSegmentor'
    assert str(ROOT) in sys.path
