"""tools/analysis/authors_ddfp.py gives both sides equal inputs; no word on speed."""

import json
import re
import sys

import pytest
import torch
from tiny_semi import tiny_data

from mmseg_semi.cli.analysis import authors, authors_ddfp
from mmseg_semi.methods.ddfp import DDFPObjective
from mmseg_semi.methods.ddfp.mixture import UNLABELED, MixtureDensity

# A stand-in with the names and arguments of the authors' modules. It notes what it is called with.
FLOW = """
import numpy as np
import torch
from torch import nn

class Coupling(nn.Module):
    def __init__(self, channels, width, seed):
        super().__init__()
        np.random.seed(seed)
        self.order = np.random.permutation(channels)
        sizes = channels // 2, width, width, channels
        for name in ('subnet1', 'subnet2'):
            layers = []
            for before, after in zip(sizes, sizes[1:]):
                layers += [nn.Linear(before, after), nn.ReLU()]
            setattr(self, name, nn.Sequential(*layers[:-1]))

    def forward(self, x):
        left, right = x.chunk(2, 1)
        s, t = self.subnet2(right).chunk(2, 1)
        q = 2 * 0.636 * torch.atan(s)
        left, logdet = left * q.exp() + t, q.sum(1)
        s, t = self.subnet1(left).chunk(2, 1)
        q = 2 * 0.636 * torch.atan(s)
        right, logdet = right * q.exp() + t, logdet + q.sum(1)
        return torch.cat([left, right], 1)[:, self.order], logdet

class RNVP(nn.Module):
    def __init__(self, cfg, means, learnable_mean=False):
        super().__init__()
        assert learnable_mean
        flow = cfg['flow']
        self.blocks = nn.ModuleList(
            Coupling(flow['input_dims'], flow['layer_dims'], k) for k in range(flow['n_blocks'])
        )
        self.means = nn.Parameter(means)

    def forward(self, x):
        total = 0
        for block in self.blocks:
            x, logdet = block(x)
            total = total + logdet
        return x, total
"""
PRIOR = """
import torch

class FastGMM:
    def __init__(self, means):
        self.means = means
        torch.zeros(1).cuda()
"""
LOSS = """
import math
import torch
from torch import nn

seen = []

class FlowLoss(nn.Module):
    def __init__(self, prior):
        super().__init__()
        self.prior = prior

    def forward(self, z, sldj, y=None):
        seen.append((z.detach(), y))
        square = (z[:, None] - self.prior.means).square().sum(2)
        log = -0.5 * square - 0.5 * z.shape[1] * math.log(2 * math.pi)
        value = log.logsumexp(1) - math.log(len(self.prior.means))
        if y is not None:
            known = y != 300
            value = torch.where(known, log.gather(1, (y * known)[:, None])[:, 0], value)
        return -(value + sldj).mean(), value.mean(), sldj.mean()
"""
DECODER = """
import torch
import torch.nn.functional as F
from torch import nn

class Mix(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.aux_bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.aux_bn(x)

class dec_deeplabv3_plus(nn.Module):
    def __init__(self, in_planes, num_classes):
        super().__init__()
        layers = []
        for before in (24, 16):
            layers += [nn.Conv2d(before, 16, 3, padding=1), Mix(16), nn.ReLU(), nn.Dropout2d(0.1)]
        self.classifier = nn.Sequential(*layers)

def attack(fts_clean, label, classifier, final, nf_model, loss_flow, cfg, epsilon):
    v = fts_clean.detach().requires_grad_()
    x = classifier(v)
    label = F.interpolate(label[:, None].float(), size=x.shape[2:], mode='nearest')[:, 0]
    z, sldj = nf_model(x.movedim(1, -1)[label != 255])
    gradient, = torch.autograd.grad(loss_flow(z, sldj)[0], v)
    return epsilon * F.normalize(gradient, dim=1)
"""
HELPER = """
from torch import nn

def resnet101(pretrained=True):
    assert not pretrained
    return nn.Conv2d(3, 16, 1)

class ModelBuilder(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.encoder, self.decoder = resnet101(), nn.Conv2d(16, num_classes, 1)

    def forward(self, x):
        return self.decoder(self.encoder(x))
"""
TRAINING = """
import numpy as np
import torch
import torch.distributed as dist
from tensorboardX import SummaryWriter
from torchvision import transforms
from dataset.builder import get_loader

cfg = None
seen = []

class GradScaler:
    def scale(self, loss):
        return loss

    def step(self, optimizer):
        optimizer.step()

def get_criterion(cfg):
    return None

def train(model, model_teacher, nf_model, optimizer, optimizer_nf, lr_scheduler, lr_scheduler_nf,
          loss_flow, sup_loss_fn, loader_l, loader_u, epoch, tb_logger, logger, scaler, scaler_nf):
    image_l, label_l = iter(loader_l).next()
    image_u, image_u_s, ignore_mask = iter(loader_u).next()
    assert dist.get_world_size() == 1 and epoch == 40 and cfg['trainer']['thresh'] == 0
    with torch.no_grad():
        model_teacher(image_u)
    optimizer.zero_grad()
    scaler.scale(model(image_l).square().sum()).backward()
    scaler.step(optimizer)
    chosen = np.random.choice(1000, 20 * 1024, False)
    x = torch.randn(len(chosen), nf_model.means.shape[1])
    z, sldj = nf_model(x)
    scaler_nf.scale(loss_flow(z, sldj=sldj)[0]).backward()
    optimizer_nf.step()
    seen.append((image_l, label_l, image_u, image_u_s, ignore_mask, chosen))
"""
SETTINGS = """
trainer: {epochs: 80, thresh: 0.95, optimizer: {kwargs: {lr: 0.001, momentum: 0.9}}}
flow: {lr: 0.001}
"""
ROOTS = ('model', 'dataset', 'train_ddfp_pascal', 'tensorboardX', 'skimage', 'torchvision')


@pytest.fixture
def repository(tmp_path):
    files = {
        'train_ddfp_pascal.py': TRAINING,
        'model/flow/model.py': FLOW,
        'model/flow/distributions.py': PRIOR,
        'model/flow/loss.py': LOSS,
        'model/model/decoder.py': DECODER,
        'model/model/model_helper.py': HELPER,
        'dataset/transform.py': '',
        authors_ddfp.SETTINGS: SETTINGS,
    }
    for name, text in files.items():
        path = tmp_path / 'authors' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = dict(sys.modules)
    yield tmp_path / 'authors'
    for name in set(sys.modules) - set(before):
        if name.split('.')[0] in ROOTS:
            del sys.modules[name]


@pytest.fixture
def arguments(repository, tmp_path):
    config = tiny_data(tmp_path, 'ddfp').filename
    own = ['--repository', str(repository), '--config', config, '--crop', '64']
    own += ['--samples', '200', '--map-side', '9', '--iters', '2', '--warmup', '1']
    return [*own, '--json', str(tmp_path / 'numbers.json')]


def numbers(text: str) -> list[float]:
    """The numbers of a line that the tool prints."""
    return [float(number) for number in re.findall(r'[-\d.]+(?:e[-+]\d+)?', text)]


def test_flow_and_perturbation_agree_on_equal_inputs(arguments, tmp_path, capsys, monkeypatch):
    given = []
    nll = MixtureDensity.nll

    def noted(density, x, components):
        given.append((density, x, components))
        return nll(density, x, components)

    monkeypatch.setattr(MixtureDensity, 'nll', noted)
    authors_ddfp.main([*arguments, '--measure', 'flow', 'perturbation'])
    result = json.loads((tmp_path / 'numbers.json').read_text())
    likelihood, gradient = result['flow']['notes']
    ours, theirs = numbers(likelihood.replace('-log', ' log').partition(':')[2])
    assert ours == pytest.approx(theirs, rel=1e-6) and ours > 10
    assert numbers(gradient)[0] < 1e-5
    middle, largest = numbers(result['perturbation']['notes'][0])
    assert middle < 1e-4 and largest < 1e-1

    # one call for the comparison, three timed ones, on each side
    seen = [entry for entry in sys.modules['model.flow.loss'].seen if entry[1] is not None]
    assert len(given) == len(seen) == 4
    density, x, components = given[0]
    assert x.shape == (200, density.channels) and (components == UNLABELED).sum() == 100
    assert torch.equal(seen[0][1], torch.where(components == UNLABELED, 300, components))
    z, _ = density.flow(x)
    assert torch.allclose(seen[0][0], z, atol=1e-5)
    out = capsys.readouterr().out
    assert out.count('ours / theirs: ') == 2 and out.count('quartiles') == 6


def test_a_difference_shows(arguments, tmp_path, monkeypatch):
    """Without it, the agreement above could be that of a comparison that compares nothing."""
    gradient = MixtureDensity.energy_gradient
    monkeypatch.setattr(
        MixtureDensity, 'energy_gradient', lambda self, x: gradient(self, x).roll(1, 0)
    )
    monkeypatch.setattr(MixtureDensity, 'nll', lambda self, x, components: -self.log_prob(x).mean())
    authors_ddfp.main([*arguments, '--measure', 'flow', 'perturbation'])
    result = json.loads((tmp_path / 'numbers.json').read_text())
    assert numbers(result['flow']['notes'][1])[0] > 1e-2
    assert numbers(result['perturbation']['notes'][0])[0] > 1e-2


def test_a_step_sees_the_same_images_and_as_many_samples(arguments, tmp_path, monkeypatch):
    ours, fitted = [], []
    compute, nll = DDFPObjective.compute, MixtureDensity.nll

    def noted_compute(objective, views):
        ours.append(views)
        return compute(objective, views)

    def noted_nll(density, x, components):
        fitted.append(len(x))
        return nll(density, x, components)

    monkeypatch.setattr(DDFPObjective, 'compute', noted_compute)
    monkeypatch.setattr(MixtureDensity, 'nll', noted_nll)
    authors_ddfp.main([*arguments, '--measure', 'step', '--by-part'])
    theirs = sys.modules['train_ddfp_pascal'].seen
    assert len(theirs) == len(ours) == 5  # three timed ones and two by part
    samples = round(20480 * 4 * 16 * 16 / (8 * 129 * 129))
    image_l, label_l, image_u, image_u_s, ignore_mask, chosen = theirs[0]
    assert len(chosen) == samples and fitted[-1] == samples
    batch = ours[-1].batch
    assert torch.equal(label_l, batch.label_l)
    assert ignore_mask.shape == label_l.shape and not ignore_mask.any()
    for found, own in ((image_l, batch.img_l), (image_u, batch.unlabeled.img_u_w)):
        # the same pictures, up to each side's own normalisation
        pairs = (torch.stack([found.flatten(), view.flatten()]) for view in (own, own.flip(1)))
        assert found.shape == own.shape
        assert max(torch.corrcoef(pair)[0, 1] for pair in pairs) > 0.99
    assert image_u_s.shape == image_u.shape and not torch.equal(image_u_s, image_u)

    result = json.loads((tmp_path / 'numbers.json').read_text())
    assert result['step']['ratio']['pairs'] == 2
    parts = result['parts']
    assert list(parts['theirs']) == ['teacher', 'student', 'backward', 'optimiser', 'flow', 'other']
    # two 1x1 convolutions on two images of 64 x 64
    assert parts['theirs']['teacher']['gflop'] == pytest.approx(
        2 * 2 * 64 * 64 * (3 * 16 + 16 * 11) / 1e9
    )
    assert 'objective/ddfp' in parts['ours']
    # no empty module stays behind where others look for the real one
    assert not {'torchvision', 'skimage', 'tensorboardX'} & {
        name for name, module in sys.modules.items() if isinstance(module, authors._StandIn)
    }


def test_what_is_missing_is_named(repository, tmp_path, capsys):
    with pytest.raises(SystemExit):
        authors_ddfp.main(['--repository', str(tmp_path)])
    assert 'has no train_ddfp_pascal.py: clone' in capsys.readouterr().err
    (repository / 'model/flow/model.py').write_text(
        "raise ModuleNotFoundError('No module', name='FrEIA')"
    )
    with pytest.raises(SystemExit):
        authors_ddfp.main(['--repository', str(repository)])
    assert 'pip install FrEIA' in capsys.readouterr().err
