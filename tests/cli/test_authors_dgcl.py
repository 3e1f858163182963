"""tools/analysis/authors_dgcl.py gives both sides equal inputs; no word on speed."""

import json
import sys

import pytest
import torch
from tiny_semi import tiny_data

from mmseg_semi.cli.analysis import authors, authors_dgcl
from mmseg_semi.methods.dgcl import ClassBank, DGCLObjective

# A stand-in with the names and arguments of the authors' modules. It notes what it is called with.
CONTRAST = """
import torch
import torch.distributed as dist

seen = []

class FeatureMemory:
    def __init__(self, memory_per_class, n_classes, feat_dim, proj_dim, k):
        self.made_with = memory_per_class, n_classes, feat_dim, proj_dim, k
        torch.zeros(1).cuda()

    def update(self, fts, rep, labels):
        dist.barrier()
        copies = [torch.zeros_like(fts)]
        dist.all_gather(copies, fts)
        assert torch.equal(copies[0], fts)
        seen.append(('update', self, fts, rep, labels))

def compute_dgcl_loss(rep, fts, memo, label, temperature=0.5, k_den_cal=None, k_high_thresh=50,
                      k_low_thresh=256):
    seen.append(('loss', memo, fts, rep, label, k_low_thresh, k_high_thresh))
    return rep.sum()
"""
TRAINING = """
import torch.distributed as dist
from dgcl.dataset.builder import get_loader
from dgcl.dgcl import seen
from tensorboardX import SummaryWriter

cfg = None

class GradScaler:
    pass

def get_criterion(cfg):
    return None

def train(model, model_teacher, optimizer, lr_scheduler, sup_loss_fn, loader_l, loader_u, epoch,
          tb_logger, logger, memobank, scaler):
    images, labels = iter(loader_l).next()
    unlabeled, padding = iter(loader_u).next()
    labels = labels.cuda()
    assert dist.get_world_size() == 1 and epoch == 40 and cfg['net']['num_classes'] == 11
    assert not next(model_teacher.parameters()).requires_grad
    seen.append(('step', memobank, images, labels, unlabeled, padding))
    optimizer.zero_grad()
    model(images.mean().view(1, 1)).sum().backward()
    optimizer.step()
"""
HELPER = """
from torch import nn

def ModelBuilder(settings):
    assert settings['encoder']['kwargs'] == dict(pretrained=False) and not settings['sync_bn']
    return nn.Linear(1, settings['num_classes'])
"""
SETTINGS = """
net: {sync_bn: True, encoder: {kwargs: {}}}
trainer: {epochs: 80, optimizer: {kwargs: {lr: 0.001, momentum: 0.9}}}
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    files = {
        'train_semi.py': TRAINING,
        'dgcl/__init__.py': '',
        'dgcl/dgcl.py': CONTRAST,
        'dgcl/models/__init__.py': '',
        'dgcl/models/model_helper.py': HELPER,
        authors_dgcl.SETTINGS: SETTINGS,
    }
    for name, text in files.items():
        path = tmp_path / 'authors' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in [name for name in sys.modules if name.split('.')[0] == 'dgcl']:
        monkeypatch.delitem(sys.modules, name)  # of a folder of tests, which has this name
    before = dict(sys.modules)
    yield tmp_path / 'authors'
    for name in set(sys.modules) - set(before):
        if name.split('.')[0] in ('dgcl', 'train_semi', 'tensorboardX', 'skimage'):
            del sys.modules[name]


def test_both_sides_see_the_same(repository, tmp_path, capsys, monkeypatch):
    ours = {'loss': [], 'update': []}
    compute, push = DGCLObjective.compute, ClassBank.push

    def noted_compute(objective, views):
        ours['loss'].append((objective, views, compute(objective, views)))
        return ours['loss'][-1][-1]

    def noted_push(bank, features, embeddings, counts, total=None):
        ours['update'].append(counts)
        push(bank, features, embeddings, counts, total)

    monkeypatch.setattr(DGCLObjective, 'compute', noted_compute)
    monkeypatch.setattr(ClassBank, 'push', noted_push)
    config = tiny_data(tmp_path, 'dgcl').filename
    file = tmp_path / 'numbers.json'
    arguments = ['--repository', str(repository), '--config', config, '--crop', '64']
    arguments += ['--map-crop', '96', '--iters', '2', '--warmup', '1', '--json', str(file)]
    authors_dgcl.main([*arguments, '--measure', 'loss', 'bank'])
    theirs = sys.modules['dgcl.dgcl'].seen
    assert [entry[0] for entry in theirs] == 3 * ['loss'] + 3 * ['update']
    assert len(ours['loss']) == len(ours['update']) == 3

    _, memory, features, projection, label, anchors, positives = theirs[0]
    objective, views, _ = ours['loss'][0]
    student = views.student.labeled, views.student.weak
    assert torch.equal(features, torch.cat([maps.features for maps in student]))
    assert torch.equal(projection, torch.cat([maps.projection for maps in student]))
    assert torch.equal(label.flatten(), objective.label_map(views))
    assert (anchors, positives) == (objective.anchors, objective.positives)
    bank = objective.bank
    assert memory.made_with[:4] == (bank.size, 11, bank.features.shape[2], bank.embeddings.shape[2])
    assert torch.equal(torch.stack(memory.fts_memory), bank.features)
    assert torch.equal(torch.stack(memory.proj_memory), bank.embeddings)
    assert torch.equal(torch.stack(memory.feat_density), bank.densities)
    # an update sees the same pixels of each class, of which ours keeps some
    *_, label = theirs[3]
    pixels = label[label != 255].bincount(minlength=11)
    assert ours['update'][0].tolist() == pixels.clamp(max=objective.rows_per_step).tolist()

    theirs.clear()
    authors_dgcl.main([*arguments, '--measure', 'step'])
    assert [entry[0] for entry in theirs] == 3 * ['step'] and len(ours['loss']) == 6
    _, memory, images, labels, unlabeled, padding = theirs[0]
    _, views, _ = ours['loss'][-1]
    assert torch.equal(labels, views.batch.label_l) and not padding.any()
    for found, own in ((images, views.batch.img_l), (unlabeled, views.batch.unlabeled.img_u_w)):
        assert found.shape == own.shape
        # the same pictures, up to each side's own normalisation
        flat = (
            torch.stack([found.flatten(), own.flip(1).flatten()]),
            torch.stack([found.flatten(), own.flatten()]),
        )
        assert max(torch.corrcoef(pair)[0, 1] for pair in flat) > 0.99
    assert len(memory.fts_memory[0]) == bank.size
    result = json.loads(file.read_text())
    assert result['step']['ratio']['pairs'] == 2 and result['step']['crop'] == 64
    out = capsys.readouterr().out
    assert out.count('ours / theirs: ') == 3 and out.count('quartiles') == 9


def test_a_folder_without_their_code_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        authors_dgcl.main(['--repository', str(tmp_path)])
    assert 'has no train_semi.py: clone' in capsys.readouterr().err


def test_what_is_replaced_is_put_back():
    before = torch.Tensor.cuda, torch.nn.Module.cuda, torch.distributed.all_reduce
    with authors.one_cpu_process():
        assert torch.zeros(2).cuda().device.type == 'cpu'
        assert torch.distributed.get_rank() == 0
    assert before == (torch.Tensor.cuda, torch.nn.Module.cuda, torch.distributed.all_reduce)
