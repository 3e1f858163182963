"""docs/monitoring.md names every value that a run logs, and no other."""

import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.structures import PixelData
from tiny_semi import CROP, tiny_batch, tiny_data, tiny_head, tiny_losses, tiny_model, tiny_runner

ROOT = Path(__file__).resolve().parents[1]
METRICS = {f'{network}/{m}' for network in ('student', 'teacher') for m in ('mIoU', 'aAcc', 'mAcc')}
BOOKKEEPING = {'iter', 'step'}


def documented(section: str = '## Values') -> set[str]:
    """Names in the first column of the table of values."""
    text = (ROOT / 'docs/monitoring.md').read_text()
    table = text.partition(f'{section}\n')[2].partition('\n## ')[0]
    rows = [line.split('|')[1] for line in table.splitlines() if line.startswith('| `')]
    return {name for row in rows for name in re.findall(r'`([^`]+)`', row)}


@pytest.fixture(scope='module')
def logged(tmp_path_factory) -> set[str]:
    """What runs of DDFP with DGCL, an auxiliary head and perturbed features, of CCT and of U2PL, write to scalars.json."""
    found = set()
    for method in ('ddfp_dgcl', 'cct', 'u2pl'):
        folder = tmp_path_factory.mktemp(method)
        cfg = tiny_data(folder, method, iterations=8, checkpoint_interval=8)
        cfg.model.student.auxiliary_head = tiny_head(
            'FCNHead', 11, in_channels=32, in_index=2, num_convs=1
        )
        if method == 'cct':
            cfg.model.objectives[1].confidence = 0.1
        elif method == 'ddfp_dgcl':
            perturbation = dict(type='FeatureDropout')
            line = dict(type='PerturbedFeaturesObjective', perturbation=perturbation)
            cfg.model.objectives.append(line)
        tiny_runner(cfg).train()
        (path,) = folder.rglob('scalars.json')
        found |= {key for line in path.read_text().splitlines() for key in json.loads(line)}
    return found


def test_every_logged_value_is_documented(logged):
    patterns = [re.escape(name).replace(r'\*', '.*') for name in documented()]
    unknown = {
        key
        for key in logged - METRICS - BOOKKEEPING
        if not any(re.fullmatch(pattern, key) for pattern in patterns)
    }
    assert not unknown
    assert METRICS <= logged


def test_every_documented_value_is_logged(logged):
    elsewhere = {'memory'}  # on a GPU
    for name in documented() - elsewhere:
        pattern = re.escape(name).replace(r'\*', '.*')
        assert any(re.fullmatch(pattern, key) for key in logged), name


def test_values_of_label_correction():
    """By MLLC, and by its correction as FixMatch's labeller."""
    labeler = dict(type='GraphCorrection', num_classes=3, rounds=1)
    models = [tiny_model('mllc'), tiny_model('fixmatch', pseudo_label=labeler)]
    found = {key for model in models for key in tiny_losses(model, 5)}
    found = {re.sub(r'_\d$', '_k', key) for key in found if key.startswith(('mllc.', 'pseudo.'))}
    assert found == documented('## Values of label correction')


def test_values_of_pseudo_masks():
    batch = tiny_batch()
    for sample in filter(None, batch['data_samples']['weak']):
        sample.given_map = PixelData(data=torch.zeros(1, CROP, CROP, dtype=torch.uint8))
    objectives = [dict(type='SupervisedObjective'), dict(type='PseudoMaskObjective')]
    logged = tiny_losses(tiny_model('supervised', objectives=objectives), 5, batch)
    found = {key for key in logged if key.startswith('pseudo_masks.')}
    assert found == documented('## Values of pseudo-masks')


def test_values_of_adaptive_thresholds():
    labellers = ('FreeMatchThreshold', 'FlexMatchThreshold', 'ClassShareThreshold')
    labellers += ('SoftMatchWeight', 'DistributionAlignment')
    models = [tiny_model('fixmatch', pseudo_label=dict(type=kind)) for kind in labellers]
    found = {key for model in models for key in tiny_losses(model, 5) if key.startswith('pseudo.')}
    assert found == documented('## Values of adaptive thresholds')
