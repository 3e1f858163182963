"""What a run checks before its first iteration, and what it makes of a checkpoint."""

import copy
import types

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_semi import (
    snapshot,
    tiny_data,
    tiny_head,
    tiny_losses,
    tiny_model,
    tiny_preprocessor,
    tiny_recipe,
    tiny_runner,
    tiny_student,
)

from mmseg_semi.errors import SetupError
from mmseg_semi.methods.ddfp.hook import FlowEstimatorHook
from mmseg_semi.step.checks import check_hooks, check_networks
from mmseg_semi.step.hooks import MeanTeacherHook, SemiStepHook


@pytest.fixture(scope='module')
def cfg(tmp_path_factory):
    return tiny_data(tmp_path_factory.mktemp('step'), 'ddfp', iterations=6)


@pytest.fixture
def folder(tmp_path):
    return dict(work_dir=str(tmp_path))


def model_of(method: str = 'ddfp', **changes) -> dict:
    return tiny_recipe(method, num_classes=11, **changes)


# -- probe ---------------------------------------------------------------------------------------


def probe(model) -> None:
    check_networks(model, size=32)


UNFIT = {
    'in_channels=(16, 64)': ('DeepLabV3PlusHead', dict(in_channels=(16, 64))),
    'in_channels=32': ('FCNHead', dict(in_channels=32)),
    'in_index=7': ('FCNHead', dict(in_index=7)),
}


@pytest.mark.parametrize('case', UNFIT)
def test_channels_that_do_not_match_the_backbone(case):
    head, changes = UNFIT[case]
    model = tiny_model('supervised', student=tiny_student(3, head, **changes))
    with pytest.raises(SetupError, match='32 x 32 image .* in_channels and in_index'):
        probe(model)


@pytest.mark.parametrize('several', [False, True])
def test_auxiliary_heads_are_probed_too(several):
    heads = [tiny_head('FCNHead', in_channels=32, in_index=2), tiny_head('FCNHead', in_index=1)]
    student = tiny_student() | dict(auxiliary_head=heads if several else heads[1])
    with pytest.raises(SetupError, match='in_channels and in_index'):
        probe(tiny_model('fixmatch', student=student))
    student = tiny_student() | dict(auxiliary_head=heads[:1] if several else heads[0])
    probe(tiny_model('fixmatch', student=student))


def test_heads_are_refused_by_name():
    model = tiny_model('supervised', student=tiny_student(3, 'DAHead', pam_channels=4))
    with pytest.raises(SetupError, match='DAHead'):
        probe(model)


def test_one_channel_a_class_is_needed():
    student = tiny_student(2, 'FCNHead', out_channels=1, threshold=0.3)
    with pytest.raises(SetupError, match='gives 1 channels for num_classes=2'):
        probe(tiny_model('supervised', student=student))


def test_the_probe_leaves_no_trace():
    model = tiny_model('ddfp_reference')
    before, state = snapshot(model), torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    probe(model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert modes == [module.training for module in model.modules()]


# -- before training, in a run -------------------------------------------------------------------


def test_a_run_is_checked_before_its_first_iteration(cfg, folder):
    unfit = model_of(student=tiny_student(11, 'DDFPHead', split_norms=True, in_channels=(16, 64)))
    with pytest.raises(SetupError, match='in_channels'):
        tiny_runner(cfg, model=unfit, **folder).train()
    with pytest.raises(SetupError, match='11 classes, but .*num_classes=9'):
        tiny_runner(cfg, model=tiny_recipe('ddfp', num_classes=9), **folder).train()
    with pytest.raises(SetupError, match='batch_size'):
        tiny_runner(cfg, train_dataloader__batch_size=2, **folder).train()


@pytest.mark.parametrize('hook', ['teacher', 'flow', 'step'])
def test_a_hook_that_the_recipe_needs_is_missed(cfg, folder, hook):
    runner = tiny_runner(cfg, **{f'default_hooks__{hook}': None}, **folder)
    sentence = dict(teacher='MeanTeacherHook', flow='FlowEstimatorHook', step='SemiStepHook')[hook]
    with pytest.raises(SetupError, match=sentence):
        runner.train()


def test_hooks_that_nothing_needs_may_be_missing():
    check, hooks = check_hooks, [SemiStepHook()]
    check(hooks, tiny_model('supervised'))
    # its buffers move by themselves
    shared = dict(weights='shared', mode='train', buffers='own')
    check(hooks, tiny_model('fixmatch', teacher=shared))
    check(hooks, tiny_model('fixmatch', teacher=dict(weights='student')))
    with pytest.raises(SetupError, match="weights='shared', buffers='copy'"):
        check(hooks, tiny_model('fixmatch', teacher=dict(weights='shared')))

    class MyTeacherHook(MeanTeacherHook):
        pass

    hooks += [MyTeacherHook(), FlowEstimatorHook()]
    check(hooks, tiny_model('ddfp'))


def test_a_plain_segmentor_needs_no_such_hook(cfg, folder):
    plain = tiny_student(11) | dict(data_preprocessor=tiny_preprocessor() | dict(size=(32, 32)))
    plain['_delete_'] = True
    runner = tiny_runner(cfg, model=plain, **folder)
    with pytest.raises(
        SetupError, match="needs model.type='SemiSegmentor', found 'EncoderDecoder'"
    ):
        runner.train()


def test_the_run_s_seed_is_the_sampler_s(cfg, folder):
    runner = tiny_runner(
        cfg, randomness__seed=7, train_cfg__max_iters=1, train_cfg__val_interval=9, **folder
    )
    seen = []
    start = type(runner.model).start_step

    def note(self, *args):
        seen.append(args)
        start(self, *args)

    runner.model.start_step = types.MethodType(note, runner.model)
    runner.train()
    assert runner.train_dataloader.sampler.seed == 7
    assert seen == [(0, 7, 0)]
    # resuming replaces the seed by the checkpoint's when the loader is built already
    runner._seed = 9
    SemiStepHook(probe_size=32).before_train(runner)
    assert runner.train_dataloader.sampler.seed == 9


# -- checkpoints ---------------------------------------------------------------------------------


def load(model, state: dict, **settings) -> dict:
    checkpoint = {'state_dict': copy.deepcopy(state)}
    SemiStepHook(**settings).after_load_checkpoint(types.SimpleNamespace(model=model), checkpoint)
    return checkpoint['state_dict']


def test_its_own_checkpoint_passes():
    for method in ('supervised', 'ddfp', 'ddfp_reference'):
        state = tiny_model(method).state_dict()
        found = load(tiny_model(method, seed=1), state)
        assert found.keys() == state.keys()


@pytest.mark.parametrize('method', ['supervised', 'fixmatch', 'ddfp', 'ddfp_reference'])
def test_a_plain_checkpoint_fills_student_and_teacher(method):
    model = tiny_model(method)
    init_default_scope('mmseg')
    torch.manual_seed(5)
    plain = MODELS.build(tiny_recipe(method)['student'])
    density = {k: v.clone() for k, v in model.state_dict().items() if k.startswith('objectives')}
    model.load_state_dict(load(model, plain.state_dict()), strict=True)
    for network in model.networks.values():
        state = network.state_dict()
        assert all(torch.equal(state[key], v) for key, v in plain.state_dict().items())
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in density.items())


def test_another_architecture_is_refused_with_what_differs():
    model = tiny_model('ddfp')
    state = model.state_dict()
    missing = {k: v for k, v in state.items() if k != 'student.decode_head.conv1.bias'}
    with pytest.raises(SetupError, match=r'1 missing \(first: student.decode_head.conv1.bias\)'):
        load(model, missing)
    with pytest.raises(SetupError, match=r'1 unknown \(first: student.extra\)'):
        load(model, state | {'student.extra': torch.zeros(1)})
    wrong = state | {'student.decode_head.conv_seg.weight': torch.zeros(4, 16, 1, 1)}
    with pytest.raises(
        SetupError, match=r'1 of another shape \(first: student.decode_head.conv_seg'
    ):
        load(model, wrong)
    for other in (missing, state | {'student.extra': torch.zeros(1)}, wrong):
        assert load(model, other, strict_load=False).keys() == other.keys()
    with pytest.raises(SetupError, match="no 'state_dict'"):
        SemiStepHook().after_load_checkpoint(types.SimpleNamespace(model=model), {'weights': 1})
    # a plain network of another head
    foreign = MODELS.build(tiny_student(3, 'FCNHead'))
    with pytest.raises(SetupError, match='missing .* unknown'):
        load(model, foreign.state_dict())


def test_the_error_stops_a_run(cfg, folder, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': tiny_model('supervised', num_classes=11).state_dict()}, path)
    with pytest.raises(SetupError, match='another architecture'):
        tiny_runner(cfg, load_from=str(path), **folder).train()


def test_checkpoints_of_plain_models_are_left_alone():
    plain = MODELS.build(tiny_student())
    state = {'anything': torch.zeros(1)}
    assert load(plain, state).keys() == state.keys()


# -- the optimiser -------------------------------------------------------------------------------


@pytest.mark.parametrize('paramwise', [None, dict(custom_keys={'decode_head': dict(lr_mult=10.0)})])
@pytest.mark.parametrize('method', ['supervised', 'fixmatch', 'ddfp', 'ddfp_reference'])
def test_the_optimiser_trains_the_student_and_nothing_else(method, paramwise):
    model = tiny_model(method)
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            constructor='StudentOptimWrapperConstructor',
            optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-2),
            paramwise_cfg=paramwise,
        ),
    )
    listed = {
        id(p): group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']
    }
    assert listed.keys() == {id(p) for p in model.student.parameters()}
    factor = 10 if paramwise else 1
    head = {id(p) for p in model.student.decode_head.parameters()}
    for key, lr in listed.items():
        assert lr == pytest.approx(0.1 * (factor if key in head else 1))
    before = snapshot(model)
    loss = model.parse_losses(tiny_losses(model, 4))[0]
    forward = snapshot(model)
    wrapper.update_params(loss)
    after = model.state_dict()
    for key in after:
        if key.startswith('objectives'):
            assert torch.equal(before[key], after[key]), key
        if key.startswith('teacher') and method != 'ddfp_reference':
            assert torch.equal(before[key], after[key]), key
    moved = {key for key in after if not torch.equal(forward[key], after[key])}
    assert {'student.backbone.stem.0.weight', 'student.decode_head.conv_seg.weight'} <= moved
