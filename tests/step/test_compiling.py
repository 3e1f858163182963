"""A compiled step is the step: same losses, same checkpoints, no graph broken; what cannot be compiled is named before training."""

import copy
import logging

import pytest
import torch
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from tiny_semi import tiny_data, tiny_recipe, tiny_runner
from whole_runs import assert_same_checkpoint, train

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.two_stage import two_stage
from mmseg_semi.step.compiling import StepCompiler
from mmseg_semi.step.segmentor import SemiSegmentor

graphs = []
"""Number of operations of every graph that the backend below was given."""


def counting(graph: torch.fx.GraphModule, inputs: list):
    graphs.append(len(graph.graph.nodes))
    return graph.forward


@pytest.fixture(autouse=True)
def _fresh():
    graphs.clear()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures('shallow')
@pytest.mark.parametrize('method', ['ddfp', 'dgcl', 'cct', 'mllc', 'unimatch_v2', 'cps'])
def test_a_run_of_every_head_and_kind_of_view(tmp_path, method):
    """Bit for bit the plain run in all that it saves, with complete graphs of student and teacher."""
    cfg = tiny_data(tmp_path, method, iterations=6, checkpoint_interval=3, val_interval=6)
    train(cfg, tmp_path / 'plain')
    cfg.model.compile = dict(backend=counting)
    train(cfg, tmp_path / 'compiled', stop=3)
    assert graphs
    train(cfg, tmp_path / 'compiled', resume=True)
    state = assert_same_checkpoint(tmp_path / 'plain/iter_6.pth', tmp_path / 'compiled/iter_6.pth')
    assert not any('_orig_mod' in key for key in state['state_dict'])


@pytest.mark.usefixtures('shallow')
def test_with_gradients_compiled_ahead_of_time(tmp_path):
    cfg = tiny_data(tmp_path, 'ddfp', iterations=2, checkpoint_interval=2)
    plain = train(cfg, tmp_path / 'plain')
    cfg.model.compile = dict(backend='aot_eager')
    compiled = train(cfg, tmp_path / 'compiled')
    for mine, theirs in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        assert (mine - theirs).abs().max() <= 1e-5 * theirs.abs().max().clamp(min=1e-3)


BACKBONES = {
    'ResNetV1c': dict(
        type='ResNetV1c', depth=18, base_channels=8, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1)
    ),
    'EfficientNetLite': dict(type='EfficientNetLite', arch='lite0', output_stride=16),
}


@pytest.mark.parametrize('kind', BACKBONES)
@pytest.mark.parametrize('training', [True, False])
def test_backbones_are_one_graph(kind, training):
    backbone = MODELS.build(BACKBONES[kind]).double()
    backbone.train(training)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    state = copy.deepcopy(backbone.state_dict())
    expected = backbone(images)
    backbone.load_state_dict(state)
    found = torch.compile(backbone.forward, fullgraph=True, dynamic=False, backend=counting)(images)
    assert len(graphs) == 1 and graphs[0] > 40
    for mine, theirs in zip(
        found, expected, strict=True
    ):  # a graph may choose another order of sums
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


class _Network(torch.nn.Module):
    """A network around a head, whose backbone gives maps for it."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.backbone, self.decode_head = torch.nn.Conv2d(3, 8, 1), head

    def extract_feat(self, images):
        return [self.backbone(images)]


class Awkward(FCNHead):
    """Reads a number from a tensor, which no graph can hold."""

    def forward(self, inputs):
        features = self.convs(self._transform_inputs(inputs))
        if float(features.sum()) > 1e9:
            features = features * 2
        return self.cls_seg(features)


def head(kind: type, **changes):
    return kind(
        in_channels=8, channels=8, num_classes=3, num_convs=1, concat_input=False, **changes
    )


def test_a_head_of_mmsegmentation():
    network = _Network(head(FCNHead)).eval()
    compiler = StepCompiler(dict(backend=counting))
    assert compiler.check(dict(student=network), 16) == []
    stages, images = compiler.stages(network), torch.randn(2, 3, 16, 16)
    graphs.clear()
    for _ in range(3):
        fused = stages.embed(stages.extract_feat(images))
        logits = stages.finish(stages.lift(fused)).logits
    assert len(graphs) == 3  # one a function, not one a call
    assert torch.equal(logits, network.decode_head(network.extract_feat(images)))
    assert 'cls_seg' not in vars(network.decode_head)


def test_a_head_that_cannot_be_compiled_is_named():
    network = _Network(head(Awkward)).eval()
    compiler = StepCompiler(dict(backend=counting))
    (sentence,) = compiler.check(dict(student=network), 16)
    assert sentence.startswith('model.compile: embed of the student (Awkward) cannot be compiled')
    assert '\n' not in sentence
    stages, images = compiler.stages(network), torch.randn(2, 3, 16, 16)
    logits = stages.finish(stages.lift(stages.embed(stages.extract_feat(images)))).logits
    assert torch.equal(logits, network.decode_head(network.extract_feat(images)))


@pytest.mark.usefixtures('shallow')
def test_the_sentence_stands_before_the_first_iteration(tmp_path, caplog):
    cfg = tiny_data(tmp_path, 'supervised', iterations=1)
    cfg.model.compile = dict(backend=counting)
    runner = tiny_runner(cfg)
    student = runner.model.student

    def broken(images):
        torch._dynamo.graph_break()
        return type(student).extract_feat(student, images)

    student.extract_feat = broken
    said = []
    runner.logger.addHandler(handler := logging.Handler())
    handler.emit = lambda record: said.append((runner.iter, record.getMessage()))
    runner.logger.setLevel('WARNING')
    runner.train()
    (found,) = [(at, text) for at, text in said if 'model.compile' in text]
    assert found[0] == 0 and 'extract_feat of the student (ResNetV1c)' in found[1]
    assert runner.iter == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(fullgraph=False), 'model.compile.fullgraph: expected only the keys'),
        (dict(mode='reduce-overhead'), "model.compile.mode='reduce-overhead'.*CUDA graphs"),
        (dict(backend='indutcor'), "model.compile.backend='indutcor': expected one of"),
        ('yes', "model.compile='yes': expected True, False or a dict"),
    ],
    ids=str,
)
def test_wrong_options(options, message):
    with pytest.raises(SetupError, match=message):
        StepCompiler(options)


def test_a_backend_that_cannot_compile_here():
    def missing(graph, inputs):
        raise RuntimeError('no compiler was found')

    compiler = StepCompiler(dict(backend=missing))
    with pytest.raises(SetupError, match='no compiler was found.*set model.compile=False'):
        compiler.check(dict(student=_Network(head(FCNHead)).eval()), 16)


def test_without_the_key_nothing_is_compiled():
    model = SemiSegmentor(**{k: v for k, v in tiny_recipe('supervised').items() if k != 'type'})
    stages = model.compiler.stages(model.student)
    assert stages.embed == model.student.decode_head.embed
    assert two_stage(model.student.decode_head).finish == stages.finish


@pytest.mark.usefixtures('shallow')
def test_a_copy_of_a_compiled_model():
    recipe = tiny_recipe('fixmatch', compile=dict(backend=counting))
    model = MODELS.build(recipe).eval()
    images = torch.randn(1, 3, 32, 32)
    expected = model.compiler.stages(model.student).extract_feat(images)
    other = copy.deepcopy(model)
    assert other.compiler.active and other.compiler is not model.compiler
    found = other.compiler.stages(other.student).extract_feat(images)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs)
