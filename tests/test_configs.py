"""Every config that is shipped: it loads, its model and pipelines build, and no two say the same."""

import copy
import functools
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from miniatures import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain_here import import_mmpretrain
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from shipped import FILES, PATHS, shipped

import mmseg_semi  # noqa: F401  (registers)
import projects.multi_domain
import projects.weak_labels  # noqa: F401
from mmseg_semi.data.splits import published_protocols, split_folder


@pytest.fixture(scope='module')
def configs() -> dict[str, Config]:
    """All configs by their path."""
    return {path.relative_to(ROOT).as_posix(): shipped(path) for path in PATHS}


def nodes(node, key: str):
    """All dicts in a config that have this key."""
    if isinstance(node, dict):
        if key in node:
            yield node
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for child in node:
        yield from nodes(child, key)


def test_no_two_files_say_the_same():
    files = defaultdict(list)
    for path in FILES:
        text = path.read_text()
        if text.count('\n') > 5:
            files[text].append(str(path.relative_to(ROOT)))
    assert [equal for equal in files.values() if len(equal) > 1] == []


def test_every_config_says_its_split_and_its_length(configs):
    published = published_protocols()
    for name, cfg in configs.items():
        for dataset in nodes(cfg.train_dataloader, 'labeled'):
            if dataset.get('type') == 'MultiBranch':
                continue
            split = dataset.get('split')
            if split is None:  # the demo's scenes and own folders, which have no names
                assert dataset.labeled.type in ('QuickstartDataset', 'FolderDataset'), name
                continue
            folder = split_folder(split)
            if split not in published and folder.parts[0] in ('configs', 'projects'):
                assert (ROOT / folder / 'labeled.txt').is_file(), name
            for source in nodes([dataset.labeled, dataset.get('unlabeled')], 'type'):
                assert 'ann_file' not in source, name
        last = cfg.param_scheduler[-1]
        assert last.end == cfg.train_cfg.max_iters, name
        assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0, name


def test_every_model_builds(configs, monkeypatch, shallow):
    init_default_scope('mmseg')
    # a transformer reads its rates of dropped paths out of a tensor
    monkeypatch.setattr(torch, 'linspace', functools.partial(torch.linspace, device='cpu'))
    seen = set()
    for name, cfg in configs.items():
        model = copy.deepcopy(cfg.model)
        for node in nodes(model, 'init_cfg'):
            node['init_cfg'] = None  # nothing is downloaded
        for node in nodes(model, 'iters_per_epoch'):
            node['iters_per_epoch'] = 1  # in which most rows differ, and in nothing else
        # models of several domains are built by test_multi_domain.py
        borrowed = 'mmpretrain' in str(model) and not import_mmpretrain()
        if str(model) in seen or borrowed or 'domains' in model:
            continue
        seen.add(str(model))
        with torch.device('meta'):  # no memory, no random numbers
            built = MODELS.build(model)
        assert getattr(built, 'objectives', True), name


def test_every_data_set_builds(configs):
    """Its pipelines, and its labels fit the network; the images need not be here."""
    init_default_scope('mmseg')
    seen = set()
    for name, cfg in configs.items():
        loaders = [
            cfg[f'{kind}_dataloader']
            for kind in ('train', 'val', 'test')
            if f'{kind}_dataloader' in cfg
        ]
        for node in nodes(loaders, 'pipeline'):
            assert DATASETS.get(node['type']) is not None, name
            if str(node['pipeline']) not in seen:
                seen.add(str(node['pipeline']))
                for step in node['pipeline']:
                    TRANSFORMS.build(copy.deepcopy(step))
        if cfg.model.type != 'SemiSegmentor':
            continue
        classes = cfg.model.student.decode_head.num_classes
        for step in nodes(cfg.train_dataloader, 'num_classes'):
            assert step['num_classes'] == classes, name
        known = DATASETS.get(cfg.val_dataloader.dataset.type).METAINFO.get('classes')
        assert known is None or len(known) == classes, name


@pytest.mark.parametrize(
    'name', ['ddfp/voc_92', 'supervised/cityscapes_u2pl_186', 'mllc/camvid_12']
)
def test_a_row_is_a_few_lines(name):
    path = Path(ROOT, f'configs/{name}.py')
    assert len(path.read_text().splitlines()) <= 5
