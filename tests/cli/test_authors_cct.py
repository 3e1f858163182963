"""tools/analysis/authors_cct.py on a repository with the names of the authors'; no word on speed."""

import re
import sys

import pytest
import torch

from mmseg_semi.cli.analysis import authors_cct
from mmseg_semi.methods.cct import CCTObjective
from mmseg_semi.runtime.measuring import count_flops

# decoders of the same layout whose seven perturbations all do nothing
DECODERS = """
import torch
from torch import nn
from utils.helpers import initialize_weights

class Shuffle(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(classes, 4 * classes, 1)

    def forward(self, x):
        return nn.functional.pixel_shuffle(self.conv(x).relu(), 2)

class Decoder(nn.Module):
    def __init__(self, upscale, channels, classes, **settings):
        super().__init__()
        first = nn.Conv2d(channels, classes, 1, bias=False)
        self.upsample = nn.Sequential(first, *(Shuffle(classes) for _ in range(3)))

    def forward(self, x, prediction):
        assert prediction.shape[2] == 8 * x.shape[2]
        return self.upsample(x)

VATDecoder = DropOutDecoder = CutOutDecoder = ContextMaskingDecoder = Decoder
ObjectMaskingDecoder = FeatureDropDecoder = FeatureNoiseDecoder = Decoder
"""
MODEL = (
    'from base import BaseModel\nfrom models.decoders import *\n\nclass CCT(BaseModel):\n    pass\n'
)
# a tab after eight blanks, as in the authors' file
LOSSES = """
def softmax_mse_loss(inputs, targets):
        inputs = inputs.softmax(1)
\treturn (inputs - targets).square().mean()
"""
SIZES = ['--images', '2', '--channels', '8', '--classes', '3', '--side', '5']


@pytest.fixture
def repository(tmp_path):
    for name, text in (
        ('models/decoders.py', DECODERS),
        ('models/model.py', MODEL),
        ('models/__init__.py', ''),
        ('utils/losses.py', LOSSES),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_report(repository, capsys):
    authors_cct.main(['--repository', str(repository), '--rounds', '2', *SIZES])
    out = capsys.readouterr().out
    assert 'commit unknown' in out and '2 x 8 x 5 x 5, 3 classes' in out
    assert re.search(r'loss: ours [\d.e-]+, authors [\d.e-]+\n', out)
    for name in ('ours', 'authors', 'floor'):
        assert re.search(rf'^{name} +[\d.]+ ms, quartiles', out, re.MULTILINE)
    assert 'ours / authors' in out and 'ours / floor' in out


def test_the_authors_modules_are_imported_and_forgotten(repository):
    mine = object()
    sys.modules['utils'] = mine
    path = [*sys.path]
    try:
        with authors_cct.authors_modules(repository) as authors:
            assert authors.decoders.VATDecoder is authors.decoders.Decoder
            scores = torch.zeros(1, 2, 1, 1)
            assert authors.losses.softmax_mse_loss(scores, scores).item() == 0.25
        assert sys.modules['utils'] is mine and 'models.decoders' not in sys.modules
        assert sys.path == path
    finally:
        del sys.modules['utils']


def setting(repository, *sizes: str):
    args = authors_cct.parse_args(['--repository', str(repository), *(sizes or SIZES)])
    with authors_cct.authors_modules(repository) as authors:
        decoders = authors_cct.authors_decoders(authors, args.channels, args.classes)
    return args, decoders, authors_cct.make_objective(args)


def test_ours_has_the_weights_of_theirs(repository):
    args, decoders, objective = setting(repository)
    authors_cct.copy_weights(decoders, objective)
    assert len(decoders) == 30
    z, _ = authors_cct.random_features(args)
    mine = [stack.single(k)(z) for stack in objective.decoders for k in range(len(stack))]
    for own, theirs in zip(mine, decoders, strict=True):
        torch.testing.assert_close(own, theirs.upsample(z))


def test_the_floor_has_the_arithmetic_of_ours(repository):
    """But for the Gram matrices of I-VAT, of C^2 instead of C h w products a class."""
    args, _, objective = setting(
        repository, '--channels', '16', '--classes', '5', '--side', '9', '--chunk', '20000'
    )
    assert isinstance(objective, CCTObjective)
    z, logits = authors_cct.random_features(args)
    ours = count_flops(lambda: authors_cct.run_ours(objective, z, logits))
    floor = count_flops(authors_cct.floor(args, 20000))
    assert sum(floor.values()) == pytest.approx(sum(ours.values()), rel=0.03)


def test_another_folder_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        authors_cct.main(['--repository', str(tmp_path)])
    assert end.value.code == 2 and 'give a clone of' in capsys.readouterr().err


def test_a_profile_names_the_longest_operations():
    a = torch.ones(64, 64)
    lines = authors_cct.profile(lambda: [a @ a for _ in range(5)], rows=3).splitlines()
    assert len(lines) == 4 and any(
        line.startswith('aten::mm ') and '5 calls' in line for line in lines
    )
    shown = [float(line.split(' ms')[0].split()[-1]) for line in lines]
    assert shown[:3] == sorted(shown[:3], reverse=True) and shown[3] >= sum(shown[:3]) - 0.2
