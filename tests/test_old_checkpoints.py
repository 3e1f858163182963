"""Checkpoints of version 0.1.0 load, resume and are written on as that version did.

``data/old_checkpoints.json`` was recorded with the code of commit 15f212d (version 0.1.0), by
``python tests/test_old_checkpoints.py --record`` there. It must not be recorded again to make a
failing test pass: users have such checkpoints, and a test that fails here says that theirs no
longer work.

For each run the record holds

- ``config``: the whole config, with its registry names and keys as they were written then;
- ``start``: what a checkpoint behind iteration 3 held, all the way down: every key, shape and type,
  and the values of what is no float tensor;
- ``losses``: what the old code logged in the three iterations behind it;
- ``end``: what the checkpoint behind the last of these held, in the same way;
- ``sums``: two numbers for each group of tensors in it.

The test makes the checkpoint of ``start`` itself, as a file: float tensors are filled by
:func:`fill`, whose numbers follow from the tensor's name. It trains on from there and compares.

On one machine, what the run logs and saves is equal to the last bit. On another one float additions
have another order (AVX2, AVX-512 or neither). The runs are made so that this does not grow: without
vector instructions, losses differ by 4e-6 at most. What is compared is allowed 1e-4: a pixel whose
two best classes are nearly equal may get the other label, which changes a loss by that much.
"""

import argparse
import functools
import json
import math
import re
import sys
import tempfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

# All that the test needs of this project beside what the recorded configs name.
from tiny_semi import write_pictures
from whole_runs import ROOT, logged, train

NAMES = (
    'supervised',
    'fixmatch',
    'mean_teacher',
    'ddfp',
    'dgcl',
    'cct',
    'mllc',
    'ddfp_reference',
    'mllc_reference',
    'graph_correction',
    'perturbed_features',
    'multi_domain',
)
RECORD = Path(__file__).with_name('data') / 'old_checkpoints.json'
START, END = 3, 6
"""Iterations behind which the old checkpoint was written, and the run ends."""

LOSSES = dict(rel=1e-4, abs=1e-7)
OTHERS = dict(rel=5e-2, abs=1e-3)
"""Of logged shares of pixels, a few of which may fall on the other side of a threshold."""
SUMS = {'counts': 2e-2, 'momentum_buffer': 5e-3, 'exp_avg': 1e-3, 'exp_avg_sq': 1e-3}
"""Shares of a group's sum of absolute values, by the last part of its name; 1e-4 of the others."""

LATER: tuple[str, ...] = ()
"""Patterns of keys that newer code writes into a checkpoint and version 0.1.0 did not.

Such as ``'message_hub.*.something'``, which stands in ``runtime_info`` and in ``resumed_keys``. Only
additions belong here; never a key that moved.
"""

# When, where and under which name a run took place, and what was measured: there, but any value.
_ANY_VALUE = (
    'meta.time',
    'meta.experiment_name',
    'meta.mmengine_version',
    'meta.cfg',
    'message_hub.runtime_info.cfg',
    'message_hub.runtime_info.experiment_name',
    'message_hub.runtime_info.mmengine_version',
    'message_hub.runtime_info.eta',
    'message_hub.runtime_info.best_*',
    'message_hub.runtime_info.results.*',
    'message_hub.*.__history__.max_length',  # a run keeps fewer values of its log since
)
# Only there on some machines.
_SOMETIMES = ('message_hub.*train/memory*',)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    """The record is that of a CPU; a GPU draws other random numbers."""
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')
    monkeypatch.syspath_prepend(str(ROOT))  # for custom_imports of projects


@functools.cache
def recorded() -> dict[str, dict]:
    """The record by run."""
    record = json.loads(RECORD.read_text())
    return {name: unfold(run, record['shared']) for name, run in record['runs'].items()}


@pytest.mark.parametrize('name', NAMES)
def test_an_old_checkpoint_resumes(tmp_path, name):
    run = recorded()[name]
    state = resume(run, tmp_path)

    old, new = flatten(run['end']), flatten(pack(state))
    missing = sorted(old.keys() - new.keys())
    unknown = sorted(key for key in new.keys() - old.keys() if not match(key, LATER + _SOMETIMES))
    other = {
        key: (old[key], new[key])
        for key in old.keys() & new.keys()
        if not match(key, _ANY_VALUE) and not same(old[key], new[key])
    }
    assert not (missing or unknown or other), (
        f'the checkpoint is not the old one: missing {missing[:5]}, unknown {unknown[:5]}, '
        f'(old, new) {dict(list(other.items())[:5])}'
    )

    for key, values in run['losses'].items():
        tolerance = LOSSES if 'loss' in key else OTHERS
        assert logged(state, key)[-len(values) :] == pytest.approx(values, **tolerance), key
    sums = group_sums(state)
    assert sums.keys() == run['sums'].keys()
    for group, (size, mark) in run['sums'].items():
        margin = size * SUMS.get(group.split()[-1], 1e-4) + 1e-7
        assert sums[group] == pytest.approx((size, mark), rel=0, abs=margin), group


def test_the_record_holds_what_has_to_last():
    """The record covers every method."""
    assert tuple(recorded()) == NAMES
    for name, run in recorded().items():
        keys = flatten(run['start'])
        assert len(run['losses']['loss']) == END - START and min(run['losses']['loss']) > 0
        assert run['start']['meta']['iter'] == START and run['end']['meta']['iter'] == END
        assert any(key.startswith('optimizer.state.0.') for key in keys)
        assert ('flow_optimizers' in run['start']) == (
            name.startswith('ddfp') or name == 'multi_domain'
        )


# -- making a checkpoint ---------------------------------------------------------------------------


def resume(run: Mapping, folder: Path) -> dict:
    """Trains on from the run's checkpoint of iteration START; returns that of iteration END."""
    cfg = build_config(run['config'], folder)
    work_dir = folder / 'work_dir'
    work_dir.mkdir()
    torch.save(make(run['start'], cfg.text), work_dir / f'iter_{START}.pth')
    train(cfg, work_dir, resume=True)
    return torch.load(work_dir / f'iter_{END}.pth', weights_only=True)


def build_config(packed: Mapping, folder: Path) -> Config:
    """The recorded config, on pictures in ``folder``."""
    packed = json.loads(json.dumps(packed).replace('{folder}', str(folder)))
    config = unpack(packed)
    if 'domains' in config['model']:
        write_pictures(folder / 'road' / 'data')
        write_pictures(folder / 'scenes' / 'data')
        for path in (folder / 'scenes' / 'data' / 'labels').rglob('*.png'):
            labels = np.array(Image.open(path))
            labels = np.where(labels == 255, 255, labels % 6).astype(np.uint8)
            Image.fromarray(labels).save(path)
    else:
        write_pictures(folder / 'data')
    path = folder / 'old.py'
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in config.items()))
    return Config.fromfile(path)


def make(packed: Mapping, config: str) -> dict:
    """The checkpoint whose record is ``packed``."""
    checkpoint = unpack(packed)
    checkpoint['meta']['cfg'] = checkpoint['message_hub']['runtime_info']['cfg'] = config
    for key, place, index, empty in tensors(checkpoint):
        place[index] = fill(key, empty)
    state = checkpoint['state_dict'] = OrderedDict(checkpoint['state_dict'])
    state._metadata = versions(state)
    for key in [key for key in state if key.endswith('bank.densities')]:
        empty_rows(state, key.removesuffix('densities'))
    for key in [key for key in state if key.endswith('bank.prototypes')]:
        state[key][state[key.replace('prototypes', 'counts')] == 0] = 0
    return checkpoint


def tensors(tree: Any, prefix: str = '') -> Iterator[tuple[str, Any, Any, torch.Tensor]]:
    """Every tensor with its dotted key, what holds it, and its place there."""
    if isinstance(tree, Mapping | list):
        for index, value in list(tree.items() if isinstance(tree, Mapping) else enumerate(tree)):
            key = f'{prefix}{index}'
            if isinstance(value, torch.Tensor):
                yield key, tree, index, value
            else:
                yield from tensors(value, f'{key}.')


def fill(key: str, tensor: torch.Tensor) -> torch.Tensor:
    """Values of a float tensor: numbers of its own for each name, of a size that trains.

    The raw words of a PCG64 are the same with every NumPy and on every machine. A teacher is like
    its student, as it is in a run: the average of two networks that have nothing in common would
    predict the same everywhere.
    """
    if not tensor.is_floating_point() or not tensor.ndim:
        return tensor  # the recorded values
    if re.search(r'(^|[._])teacher\.', key):
        student = key.replace('shared_teacher.', 'shared.').replace('teacher.', 'student.')
        return 0.8 * fill(student, tensor) + 0.2 * noisy(key, tensor)
    return noisy(key, tensor)


def noisy(key: str, tensor: torch.Tensor) -> torch.Tensor:
    """What :func:`fill` gives a name that is no teacher's."""
    shape, name = tensor.shape, key.rpartition('.')[2]
    words = np.random.PCG64(zlib.crc32(key.encode())).random_raw(shape.numel())
    noise = torch.from_numpy((words >> 40) / 2**23 - 1.0).view(shape)  # uniform in [-1, 1)
    if name in ('features', 'embeddings') and 'bank' in key:
        values = torch.nn.functional.normalize(noise, dim=-1)
    elif name in ('running_var', 'densities', '__ndarray__'):
        values = 1.0 + 0.5 * noise
    elif name == 'exp_avg_sq':
        values = 1e-4 * (1.1 + noise)
    elif name == 'exp_avg':
        values = 1e-2 * noise
    elif name == 'momentum_buffer':
        values = 0.2 * noise
    elif 'means' in key or name == 'prototypes':
        values = 1.5 * noise
    elif 'flow.blocks' in key:
        values = 0.1 * noise
    elif tensor.ndim == 1:
        values = 1.0 + 0.2 * noise if name == 'weight' else 0.1 * noise
    else:  # variance 2 / inputs
        values = noise * math.sqrt(6 / shape[1:].numel())
    return values.to(tensor.dtype)


def empty_rows(state: Mapping, bank: str) -> None:
    """Rows that no bank of a class holds yet, and densities that are not known."""
    densities = state[f'{bank}densities']
    place = torch.arange(densities.shape[1])
    filled = place < state[f'{bank}counts'][:, None]
    densities[~filled | (place % 2 == 0)] = -1.0
    for name in ('features', 'embeddings'):
        state[bank + name][~filled] = 0


def versions(state: Mapping) -> OrderedDict:
    """``_metadata`` of a state dict: batch norms, even without statistics, are of version 2."""
    found = OrderedDict({'': {'version': 1}})
    for key in state:
        module = key.rpartition('.')[0]
        while module and module not in found:
            norm = f'{module}.num_batches_tracked' in state or '.aux_norm' in module
            found[module] = {'version': 2 if norm else 1}
            module = module.rpartition('.')[0]
    return found


# -- comparing -------------------------------------------------------------------------------------


def flatten(packed: Any, key: str = '') -> dict[str, Any]:
    """Leaves of a packed checkpoint by dotted key; tensors without their values."""
    if isinstance(packed, str) and (found := _TENSOR.fullmatch(packed)):
        return {key: found[1]}
    if not isinstance(packed, Mapping | list):
        return {key: packed}
    kind, children = 'dict', packed
    if isinstance(packed, Mapping):
        for mark in _MARKS & packed.keys():
            kind, children = mark, packed[mark]
    if isinstance(children, list):
        kind = f'{"tuple" if kind == "$tuple" else "list"} of {len(children)}'
        children = dict(enumerate(children))
    leaves = {} if kind == '$dots' else {f'{key} is a': kind}
    for name, child in children.items():
        leaves |= flatten(child, f'{key}.{name}' if key else str(name))
    return leaves


def match(key: str, patterns: tuple[str, ...]) -> bool:
    key = key.removesuffix(' is a')
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def same(one: Any, other: Any) -> bool:
    """Equal types and values; floats up to what a machine may add."""
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-6, abs=1e-12)
    return type(one) is type(other) and one == other


def group_sums(checkpoint: Mapping) -> dict[str, tuple[float, float]]:
    """For each group of tensors the sum of absolute values, and one that tells places apart."""
    sums: dict[str, tuple[float, float]] = {}
    owners = ('state_dict', 'optimizer', 'flow_optimizers')
    for owner in (owner for owner in owners if owner in checkpoint):
        for key, _, _, tensor in tensors(checkpoint[owner]):
            parts = key.split('.')
            group = '.'.join(parts[:3])
            if owner != 'state_dict':
                group = f'{owner} {parts[-1]}'
            elif parts[-1] in ('counts', 'heads'):
                group = f'{".".join(parts[:-1])} {parts[-1]}'
            values = tensor.double().flatten()
            places = torch.arange(len(values), dtype=torch.float64)
            size, mark = sums.get(group, (0.0, 0.0))
            size += values.abs().sum().item()
            mark += (values * torch.cos(zlib.crc32(key.encode()) % 1000 + places)).sum().item()
            sums[group] = size, mark
    return sums


# -- the record's form -----------------------------------------------------------------------------

_TENSOR = re.compile(r'((\w+)\[([\d,]*)\])(?:=(.*))?')
_MARKS = {'$tuple', '$numbered', '$dots'}


def pack(value: Any, values: bool = False, key: str = '') -> Any:
    """A checkpoint as JSON can hold it.

    A tensor is a text such as 'float32[8,3]', or with ``values`` 'int64[2]=5,0' where it is none of
    floats, or a single float. Keys of a state dict become nested ones: a teacher's and a student's
    then are equal, and stand once in the file.
    """
    if isinstance(value, torch.Tensor):
        form = f'{str(value.dtype)[6:]}[{",".join(map(str, value.shape))}]'
        kept = values and (not value.is_floating_point() or not value.ndim)
        return f'{form}={",".join(map(repr, value.flatten().tolist()))}' if kept else form
    if isinstance(value, tuple):
        return {'$tuple': [pack(item, values) for item in value]}
    if isinstance(value, list):
        return [pack(item, values) for item in value]
    if isinstance(value, Mapping):
        packed = {k: pack(item, values, str(k)) for k, item in value.items()}
        if key == 'state_dict':
            tree: dict = {}
            for name, item in packed.items():
                *path, last = name.split('.')
                node = tree
                for part in path:
                    node = node.setdefault(part, {})
                node[last] = item
            return {'$dots': tree}
        if packed and all(isinstance(k, int) for k in packed):
            return {'$numbered': {str(k): item for k, item in packed.items()}}
        return packed
    assert value is None or isinstance(value, bool | int | float | str), (key, value)
    return value


def unpack(packed: Any) -> Any:
    """What :func:`pack` packed, float tensors as zeros."""
    if isinstance(packed, str) and (found := _TENSOR.fullmatch(packed)):
        dtype = getattr(torch, found[2])
        shape = [int(size) for size in found[3].split(',') if size]
        if found[4] is None:
            return torch.zeros(shape, dtype=dtype)
        return torch.tensor(json.loads(f'[{found[4]}]'.lower()), dtype=dtype).view(shape)
    if isinstance(packed, list):
        return [unpack(item) for item in packed]
    if not isinstance(packed, Mapping):
        return packed
    if '$tuple' in packed:
        return tuple(unpack(item) for item in packed['$tuple'])
    if '$numbered' in packed:
        return {int(k): unpack(item) for k, item in packed['$numbered'].items()}
    if '$dots' in packed:
        return dict(join(packed['$dots']))
    return {k: unpack(item) for k, item in packed.items()}


def join(tree: Mapping, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """The dotted keys of a nested state dict."""
    for key, item in tree.items():
        if isinstance(item, Mapping):
            yield from join(item, f'{prefix}{key}.')
        else:
            yield prefix + key, unpack(item)


def fold(trees: Any, shortest: int = 30) -> tuple[Any, list]:
    """Subtrees that occur again stand once, in a list; ``{'$': place}`` is where they belong."""
    seen: Counter = Counter()
    places: dict[str, int] = {}
    shared: list = []

    def children(tree: Any) -> list:
        return list(tree.values() if isinstance(tree, dict) else tree)

    def count(tree: Any) -> None:
        if isinstance(tree, dict | list):
            seen[text(tree)] += 1
            if seen[text(tree)] == 1:
                for child in children(tree):
                    count(child)

    def put(tree: Any) -> Any:
        if not isinstance(tree, dict | list):
            return tree
        name = text(tree)
        if name in places:
            return {'$': places[name]}
        new = (
            [put(child) for child in tree]
            if isinstance(tree, list)
            else {key: put(child) for key, child in tree.items()}
        )
        if seen[name] < 2 or len(name) < shortest:
            return new
        shared.append(new)
        places[name] = len(shared) - 1
        return {'$': places[name]}

    count(trees)
    return put(trees), shared


def unfold(tree: Any, shared: list) -> Any:
    if isinstance(tree, list):
        return [unfold(item, shared) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {'$'}:
        return unfold(shared[tree['$']], shared)
    return {key: unfold(item, shared) for key, item in tree.items()}


# -- recording, with the old code ------------------------------------------------------------------


def tiny_configs(
    folder: Path, half: int = START, lr: float = 1e-5, dropout: float = 0.0
) -> Iterator[tuple[str, Config]]:
    """The runs, each with pictures in ``folder/NAME``; for the record, and to compare two versions.

    All phases begin at iteration 1 or 2. At half of a run the banks of DGCL are all but full.

    Args:
        folder: Empty.
        half: Half of a run's iterations. A checkpoint is written there, and at the end.
        lr: Learning rate. The record's is small, so that what another machine rounds differently
            does not grow.
        dropout: Of the decode heads. The record has none: its draws may come from another library
            on a CPU of another make.
    """
    from tiny_semi import tiny_data

    sys.path.insert(0, str(Path(__file__).with_name('projects')))
    sys.path.append(str(ROOT))
    fixmatch = [
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            weight=dict(type='Steps', values=[0.0, 1.0], milestones=[1]),
            divisor='valid',
        ),
    ]
    ramp = dict(type='Ramp', value=1.0, length=4, kind='sigmoid')
    # (method of tiny_recipe, keys of the model)
    runs: dict[str, tuple[str, dict]] = {
        'supervised': ('supervised', {}),
        'fixmatch': ('fixmatch', {}),
        'mean_teacher': (
            'fixmatch',
            dict(
                teacher=dict(start=0),
                pseudo_label=dict(type='ConfidenceThreshold', threshold=0.0),
                mixing=None,
                objectives=[
                    dict(type='SupervisedObjective'),
                    dict(type='SelfTrainingObjective', divisor='valid', weight=ramp),
                ],
            ),
        ),
        'ddfp': ('ddfp', {}),
        'dgcl': ('dgcl', {}),
        'cct': ('cct', {}),
        'mllc': ('mllc', {}),
        'ddfp_reference': ('ddfp_reference', {}),  # a teacher that shares the student's weights
        'mllc_reference': ('mllc_reference', {}),  # the student as its own teacher, one bank
        'graph_correction': (
            'fixmatch',
            dict(
                pseudo_label=dict(
                    type='GraphCorrection',
                    num_classes=11,
                    rounds=2,
                    stride=4,
                    graph=dict(top_k=70),
                    tau=0.0955,
                )
            ),
        ),
        'perturbed_features': (
            'fixmatch',
            dict(
                objectives=[
                    *fixmatch,
                    dict(
                        type='PerturbedFeaturesObjective', perturbation=dict(type='FeatureDropout')
                    ),
                ]
            ),
        ),
    }
    for name, (method, model) in runs.items():
        model = dict(iters_per_epoch=1, dropout=dropout) | model
        (folder / name).mkdir()
        sizes = dict(iterations=2 * half, checkpoint_interval=half, val_interval=half)
        cfg = tiny_data(folder / name, method, model=model, **sizes)
        if name == 'dgcl':  # rows come from the second step on
            cfg.model.objectives[2].update(
                bank_size=5 * (half - 1) + 1, rows_per_step=5, density_after=4
            )
        if name == 'mllc':
            # off in the released code; with its slope of up to 1e7 rounding errors grow
            cfg.model.objectives[1].w_intra = 0.0
            cfg.model.student.decode_head.graph.top_k = 70  # all: rounding has no choice
        if name in ('mllc', 'mllc_reference', 'graph_correction'):
            # no padding: its nodes are alike, and rounding would choose the neighbours
            data = cfg.train_dataloader.dataset
            for transform in (*data.labeled.pipeline, *data.unlabeled.pipeline):
                if transform.type == 'RandomRelativeResize':
                    transform.ratio_range = (1.0, 2.0)
        if name == 'graph_correction':
            # with this seed the two best classes of a pixel are nowhere nearly equal
            cfg.randomness.seed = 4
        yield name, settle(cfg, lr, name == 'supervised')

    from tiny_domains import tiny_domains

    (folder / 'multi_domain').mkdir()
    model = dict(iters_per_epoch=1, dropout=dropout)
    cfg = tiny_domains(folder / 'multi_domain', ('ddfp', 'fixmatch'), model=model, **sizes)
    yield 'multi_domain', settle(cfg, lr, True)


def settle(cfg: Config, lr: float, validated: bool) -> Config:
    """Validation costs time: two runs have one, at half and at the end."""
    total = cfg.train_cfg.max_iters
    cfg.param_scheduler[0].end = 2 * total  # the last step has a learning rate
    cfg.optim_wrapper.optimizer.lr = lr
    if not validated:
        for key in ('val', 'test'):
            for part in ('dataloader', 'cfg', 'evaluator'):
                cfg[f'{key}_{part}'] = None
        cfg.default_hooks.checkpoint.save_best = None
        cfg.default_hooks.results = None
    cfg.default_hooks.flow = cfg.default_hooks.get('flow') and dict(
        type='FlowEstimatorHook', epochs=total
    )
    return cfg


def record() -> None:
    """Writes the record. Done with commit 15f212d, version 0.1.0; not to be done with newer code.

    A test that fails is no reason: it says that users' checkpoints no longer do what they did.
    """
    import mmseg_semi

    if RECORD.exists() or mmseg_semi.__version__ != '0.1.0':
        sys.exit(f'{RECORD} is what version 0.1.0 did; it is not made again')
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        runs = {name: record_run(cfg, folder / name) for name, cfg in tiny_configs(folder)}
    runs, shared = fold({name: runs[name] for name in NAMES})
    about = 'recorded at 15f212d, version 0.1.0; tests/test_old_checkpoints.py says what it is for'
    parts = [f'{text(name)}:{{{rows(run)}}}' for name, run in runs.items()]
    lines = ',\n'.join(map(text, shared)), ',\n'.join(parts)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(
        f'{{"about":{text(about)},\n"shared":[\n{lines[0]}],\n"runs":{{\n{lines[1]}}}}}\n'
    )
    print(f'{RECORD}: {RECORD.stat().st_size / 1000:.0f} kB, {len(runs)} runs')


def text(tree: Any) -> str:
    return json.dumps(tree, separators=(',', ':'))


def rows(run: Mapping) -> str:
    return ',\n'.join(f'{text(key)}:{text(part)}' for key, part in run.items())


def record_run(cfg: Config, folder: Path) -> dict[str, Any]:
    """One run's part of the record; ``folder`` is that of its config's pictures."""
    run = {'config': json.loads(text(pack(cfg.to_dict())).replace(str(folder), '{folder}'))}
    fresh, made = folder / 'fresh', folder / 'made'
    fresh.mkdir()
    made.mkdir()
    train(build_config(run['config'], fresh), fresh / 'work_dir', stop=START)
    state = torch.load(fresh / 'work_dir' / f'iter_{START}.pth', weights_only=True)
    found = state['state_dict']._metadata
    known = versions(state['state_dict'])
    assert known == {module: found[module] for module in known}
    run['start'] = pack(without_config(state), values=True)

    state = resume(run, made)
    run['end'] = pack(without_config(state))
    earlier = unpack(run['start'])['message_hub']['log_scalars']
    run['losses'] = {}
    for name in state['message_hub']['log_scalars']:
        stage, _, key = name.partition('/')
        if stage == 'train' and key not in ('time', 'data_time', 'memory'):
            known = earlier.get(name)
            first = known['__history__']['values']['__ndarray__'].numel() if known else 0
            run['losses'][key] = [digits(value) for value in logged(state, key)[first:]]
    run['sums'] = {group: [*map(digits, pair)] for group, pair in group_sums(state).items()}
    return run


def without_config(checkpoint: dict) -> dict:
    """The text of the config stands in ``config`` already; changed in place."""
    for part in checkpoint['meta'], checkpoint['message_hub']['runtime_info']:
        part['cfg'] = '(the config)'
    return checkpoint


def digits(value: float) -> float:
    return float(f'{value:.7g}')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=record.__doc__)
    parser.add_argument('--record', action='store_true', required=True)
    parser.parse_args()
    record()
