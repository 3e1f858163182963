"""What is measured is right: parts, pairs, arithmetic, memory; and tools/benchmark.py, without a word on speed."""

import json

import pytest
import torch
from tiny_semi import tiny_data
from torch.nn import functional as F

from mmseg_semi.cli import benchmark
from mmseg_semi.cli.benchmark import copies
from mmseg_semi.methods.ddfp.mixture import UNLABELED, MixtureDensity
from mmseg_semi.methods.mllc.benchmarks import graphs
from mmseg_semi.runtime.measuring import (
    Meter,
    Ratio,
    count_flops,
    interleave,
    stored_bytes,
    trace_memory,
)
from mmseg_semi.step import parts
from mmseg_semi.step.parts import part

CPU = torch.device('cpu')
MIB = 2**20


# -- parts and pairs ---------------------------------------------------------------------------


class Counter:
    """A clock that is set by hand."""

    now = 0

    def __call__(self) -> int:
        return self.now


def test_a_meter_charges_each_stretch_to_the_innermost_part():
    clock = Counter()
    with Meter(clock) as meter:
        clock.now += 1
        with part('outer'):
            clock.now += 10
            with part('inner'):
                clock.now += 100
            clock.now += 1000
        with part('inner'):
            clock.now += 10_000
    clock.now += 100_000
    assert meter.sums == {'other': 1, 'outer': 1010, 'inner': 10_100}
    assert meter.total == 11_111


def test_a_part_that_fails_is_closed():
    clock = Counter()
    with Meter(clock) as meter:
        with pytest.raises(KeyError), part('failing'):
            clock.now += 1
            raise KeyError
        clock.now += 10
    assert meter.sums == {'other': 10, 'failing': 1}
    assert parts._observer is None


def test_only_one_meter_runs():
    with Meter(Counter()):
        with pytest.raises(RuntimeError, match='running already'), Meter(Counter()):
            pass
    with Meter(Counter()):  # the refusal left nothing behind
        pass


def test_pairs_alternate_their_order_and_leave_out_the_warmup():
    calls = []

    def step(name: str):
        def run() -> int:
            calls.append(name)
            return len(calls)

        return run

    results = interleave([step('a'), step('b')], rounds=2, warmup=1)
    assert ''.join(calls) == 'abbaab'
    assert results == [[4, 5], [3, 6]]


def test_ratio_of_pairs():
    # the machine was ten times slower during the second pair, which moves neither median
    ratio = Ratio.of([2.0, 30.0, 3.0, 4.0, 2.5], [1.0, 10.0, 2.0, 2.0, 1.0])
    assert ratio.median == 2.0 and ratio.pairs == 5
    assert ratio.low == 1.75 and ratio.high == 2.75
    assert ratio.of_medians == 1.5
    assert Ratio.of([3.0], [2.0]).low == 1.5


# -- arithmetic --------------------------------------------------------------------------------


def test_flops_of_products_and_convolutions_by_part():
    x, w = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3, requires_grad=True)
    a, b = torch.randn(7, 11), torch.randn(11, 13, requires_grad=True)

    def step() -> None:
        with part('convolution'):
            y = F.conv2d(x, w, padding=1)
        with part('product'):
            z = (a @ b).relu()
        with part('backward'):
            (y.sum() + z.sum()).backward()

    conv, product = 2 * 2 * 5 * 8 * 8 * 3 * 9, 2 * 7 * 11 * 13
    counted = count_flops(step)
    assert counted.pop('other', 0) == 0
    # neither x nor a wants a gradient
    assert counted == {'convolution': conv, 'product': product, 'backward': conv + product}


@pytest.mark.parametrize('groups', [1, 2, 6])
@pytest.mark.parametrize('transposed', [False, True])
def test_flops_of_grouped_convolutions(groups, transposed):
    """Both gradients take as many operations as the forward pass, also of a depthwise convolution."""
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    layer = kind(6, 12, 3, stride=2, padding=1, groups=groups, bias=False)
    x = torch.randn(2, 6, 8, 8, requires_grad=True)

    def step() -> None:
        with part('forward'):
            y = layer(x)
        with part('backward'):
            y.sum().backward()

    # each of the 12 x 6 / groups kernels is applied at the positions of the coarse map
    positions = 8 * 8 if transposed else 4 * 4
    forward = 2 * 2 * positions * 12 * 6 // groups * 9
    counted = count_flops(step)
    assert counted.pop('other', 0) == 0
    assert counted == {'forward': forward, 'backward': 2 * forward}


def test_flops_of_an_inner_gradient():
    """torch's FlopCounterMode refuses ``autograd.grad`` of a module's input."""
    linear, x = torch.nn.Linear(4, 6), torch.randn(5, 4, requires_grad=True)
    counted = count_flops(lambda: torch.autograd.grad(linear(x).square().sum(), x))
    assert sum(counted.values()) == 2 * (2 * 5 * 4 * 6)


# -- memory ------------------------------------------------------------------------------------


def test_memory_of_known_allocations():
    def step() -> None:
        with part('first'):
            a = torch.zeros(MIB)  # 4 MiB
            b = torch.zeros(2 * MIB)
        with part('second'):
            del b
            c = torch.zeros(MIB)
        with part('third'):
            del a, c

    memory = trace_memory(step, CPU)
    assert (memory.rise, memory.kept, memory.largest) == (12 * MIB, 0, 8 * MIB)
    # a part begins at what the one before it left
    assert memory.parts == {'first': 12 * MIB, 'second': 12 * MIB, 'third': 8 * MIB}


def test_memory_counts_temporaries_inside_an_operation():
    x = torch.randn(64, 2 * 1024).T  # not contiguous: softmax copies it before it computes

    def step() -> None:
        x.softmax(1)

    # the copy and the result; what vectorised code keeps besides is small
    assert 2 * x.nbytes <= trace_memory(step, CPU).rise < 2.1 * x.nbytes


def test_memory_that_a_step_leaves_behind():
    held: list[torch.Tensor] = []

    def leaks() -> None:
        held.append(torch.zeros(MIB))

    def hands_on() -> None:
        held[:] = [torch.zeros(MIB)]

    assert trace_memory(leaks, CPU).kept == 4 * MIB
    hands_on()
    memory = trace_memory(hands_on, CPU)
    # old and new live side by side for a moment
    assert (memory.kept, memory.rise) == (0, 4 * MIB)


def test_stored_bytes_count_a_storage_once():
    a, b = torch.zeros(10), torch.zeros(3, dtype=torch.float64)
    assert stored_bytes([a, a, a[2:5], a.view(2, 5), b]) == 40 + 24


def test_the_flow_allocates_nothing_larger_than_its_features():
    """Likelihood and gradient at the size of the published runs; an N x K x C tensor would be 21 times as large."""
    density = MixtureDensity(channels=256, num_components=21)
    x = torch.randn(20_480, 256)
    components = torch.randint(0, 21, (20_480,))
    components[::2] = UNLABELED

    def fit() -> None:
        with density.trainable():
            torch.autograd.grad(density.nll(x, components), [*density.parameters()])

    assert trace_memory(fit, CPU).largest == x.nbytes


# -- the tool ----------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def tool():
    return benchmark


@pytest.fixture(scope='module')
def configs(tmp_path_factory) -> dict[str, str]:
    """A config file of each method, with pictures of its own."""
    folder = tmp_path_factory.mktemp('configs')
    return {
        method: tiny_data(folder / method, method).filename
        for method in ('supervised', 'fixmatch', 'ddfp', 'ddfp_reference', 'dgcl', 'cct', 'mllc')
    }


def measure(tool, *arguments) -> dict:
    args = ['--iters', '2', '--warmup', '1', *map(str, arguments)]
    return tool.run(tool.parse_args(args))


@pytest.fixture(scope='module')
def pair(tool, configs) -> dict:
    return measure(tool, configs['ddfp'], configs['fixmatch'])


def test_step_names_every_part_and_the_parts_make_the_whole(pair):
    for own in pair['steps']:
        named = {'data', 'preprocessing', 'teacher', 'mixing', 'student', 'backward', 'optimiser'}
        named |= {'objective/sup', 'objective/selftrain', 'log read', 'other'}
        named |= {'hooks: SemiStepHook', 'hooks: MeanTeacherHook', 'hooks: of MMEngine'}
        if 'objective/ddfp' in own['parts']:
            named |= {'objective/ddfp', 'hooks: FlowEstimatorHook'}
        assert named <= set(own['parts'])
        for run, total in zip(own['runs'], own['totals'], strict=True):
            assert sum(run.values()) == pytest.approx(total) and min(run.values()) >= 0
        # with what no part claims a small rest
        assert own['parts']['other'] < 0.5 * own['seconds']


def test_step_arithmetic(pair):
    ddfp, fixmatch = (own['flops'] for own in pair['steps'])
    # teacher and student pass the same number of images, once
    assert ddfp['teacher'] == ddfp['student'] == fixmatch['teacher'] == fixmatch['student'] > 0
    # every convolution but the first, whose input wants no gradient, passes back twice
    assert 1.5 * fixmatch['student'] < fixmatch['backward'] < 2 * fixmatch['student']
    # every pixel has a pseudo-label, so the flow's direction is computed for all of them
    assert ddfp['objective/ddfp'] > 0 and ddfp['hooks: FlowEstimatorHook'] > 0
    assert pair['ratio_flops'] == sum(ddfp.values()) / sum(fixmatch.values()) > 1


def test_step_memory(pair):
    for own in pair['steps']:
        assert own['memory']['kept'] == 0
        assert own['memory']['rise'] == max(own['memory']['parts'].values())
        assert own['peak'] == own['memory']['rise'] + sum(own['stored'].values())
        # one copy of the weights, and one momentum of every trained parameter
        assert own['stored']['teacher'] == own['stored']['student']
        assert own['stored']['optimisers'] >= 0.9 * own['stored']['student']


def test_a_teacher_of_shared_weights_stores_its_statistics_only(tool, configs):
    own = measure(tool, configs['ddfp_reference'], '--batch-size', '1', '3')['steps'][0]
    assert 0 < own['stored']['teacher'] < 0.1 * own['stored']['student']
    assert own['batch'] == [1, 3] and own['iteration'] == 4


def test_step_on_the_images_of_the_config(tool, configs):
    own = measure(tool, configs['fixmatch'], '--data', '--at', '6')['steps'][0]
    assert own['images'] == 'of the config' and own['iteration'] == 6
    assert own['parts']['data'] > 0 and own['flops']['teacher'] > 0


def test_supervised_computes_what_plain_mmsegmentation_does(tool, configs):
    semi, plain = measure(tool, configs['supervised'], '--measure', 'plain', '--crop', '64')[
        'steps'
    ]
    assert sum(semi['flops'].values()) == sum(plain['flops'].values()) > 0
    assert (
        semi['stored']['student'] == plain['stored']['student'] and 'teacher' not in semi['stored']
    )
    assert semi['crop'] == plain['crop'] == [64, 64] and semi['batch'] == plain['batch'] == [2]
    assert 'objective/sup' not in plain['parts'] and 'hooks: SemiStepHook' not in plain['parts']


def test_inference_teacher_and_flow(tool, configs, capsys):
    found = measure(tool, configs['ddfp'], '--measure', 'inference', '--batch-size', '3')
    assert found['images_per_second']['A'] == pytest.approx(3 / found['seconds']['A'])
    found = measure(tool, configs['ddfp'], '--measure', 'teacher')
    assert found['ratio']['pairs'] == 2 and found['tensors'] > 100
    found = measure(tool, configs['ddfp'], '--measure', 'flow')
    assert found['size'] == [64, 11, 16] and found['memory']['largest'] < found['bytes_nkc']
    assert 'hook / lerp' in capsys.readouterr().out


def test_copies_by_part_and_operation(tool, configs, capsys):
    found = measure(tool, configs['fixmatch'], '--measure', 'copies')
    rows = {(row['part'], row['operation']): row for row in found['copies']}
    # the teacher takes all buffers of the student over: mean, variance and count of every norm
    model = measure(tool, configs['fixmatch'], '--measure', 'teacher')
    buffers = rows['hooks: MeanTeacherHook', '_foreach_copy_']
    assert 0 < buffers['copies'] < model['tensors'] and buffers['kind'] == 'plain'
    # each view is one batch of bytes that becomes float, once
    assert rows['preprocessing', 'to']['kind'] == 'type'
    assert 'copies of' in capsys.readouterr().out


def test_an_operation_is_named_by_its_backward_node_or_the_outermost_in_its_part():
    node = 'autograd::engine::evaluate_function: ConvolutionBackward0'
    path = ('semi/backward', node, 'ConvolutionBackward0', 'aten::_to_copy')
    assert copies.operation_of(path) == 'ConvolutionBackward0'
    assert copies.operation_of(('semi/a', 'aten::x', 'semi/b', 'aten::to', 'aten::pad')) == 'pad'
    assert copies.part_of(('semi/a', 'aten::x', 'semi/b', 'aten::to')) == 'b'
    assert copies.part_of(('aten::to',)) == 'outside of the parts'
    rows = copies.group([copies.Copy(('semi/a', 'aten::x'), (2, n), 'plain') for n in (3, 4)])
    assert rows == [dict(part='a', operation='x', kind='plain', copies=2, elements=14)]


def test_auxiliary_decoders_against_the_plain_loop(tool, configs, capsys):
    arguments = ('--measure', 'auxiliary', '--crop', '64', '--batch-size', '2', '3')
    found = measure(tool, configs['cct'], *arguments)
    assert (found['decoders'], found['images'], found['crop']) == (8, 3, [64, 64])
    assert found['ratio']['pairs'] == 2
    ours, loop = (found['memory'][name]['rise'] for name in ('objective', 'plain loop'))
    assert 0 < ours < 0.5 * loop
    assert all(flops > 0 for flops in found['flops'].values())
    assert '8 decoders, 3 images, crop 64 x 64' in capsys.readouterr().out
    alone = measure(tool, configs['cct'], *arguments, '--alone')
    assert alone['memory'] == {'objective': found['memory']['objective']}
    assert 'plain loop' not in capsys.readouterr().out


def test_a_step_without_a_teacher_has_its_unlabelled_images(tool, configs):
    own = measure(tool, configs['cct'], '--batch-size', '2', '3', '--crop', '64')['steps'][0]
    assert own['batch'] == [2, 3] and own['flops']['objective/cct'] > 0
    assert 'teacher' not in own['stored']


def test_contrast(tool, configs, capsys):
    found = measure(tool, configs['dgcl'], '--measure', 'contrast', '--present', '3')
    assert found['bank'] == [11, 12, 16] and found['grid'] == [8, 8] and found['present'] == 3
    assert found['batch'] == [2, 2] and 2 * 64 < found['labeled_pixels'] < 4 * 64
    assert found['parts'].keys() == {
        'loss',
        'objective/dgcl/density',
        'backward',
        'objective/dgcl/bank',
        'other',
    }
    assert sum(sum(run.values()) for run in found['runs']) > 0 and found['memory']['kept'] == 0
    assert 0 < found['bfloat16_error']['largest'] < 0.01
    assert '11 classes x 12 x 16' in capsys.readouterr().out


def test_a_step_of_dgcl_has_full_banks(tool, configs):
    own = measure(tool, configs['dgcl'])['steps'][0]
    assert {'objective/dgcl', 'objective/dgcl/density', 'objective/dgcl/bank'} <= set(own['parts'])
    assert own['flops']['objective/dgcl/density'] > 0
    # features and projections of every class's rows
    assert own['stored']['objectives'] >= 4 * 11 * 12 * (16 + 8)


def test_graphs_beside_their_dense_form(tool, configs, capsys):
    found = measure(tool, configs['mllc'], '--measure', 'graphs', '--grid', '20', '30')
    assert found['grid'] == [20, 30] and found['ratio']['pairs'] == 2
    # three products of N x N matrices with diagonal ones would be 2 N^3 each
    assert found['flops']['dense'] > 8 * 600**3 > 8 * found['flops']['lists']
    assert found['memory']['lists']['rise'] < found['memory']['dense']['rise']
    assert 'lists / dense' in capsys.readouterr().out
    # what is compared computes the same
    torch.manual_seed(0)
    one = graphs.GraphRound(top_k=5)
    level = graphs.Level(torch.randn(1, 4, 5, 6), torch.randn(1, 8, 5, 6))
    eta = torch.full((4,), 0.5).double()
    for mine, theirs in zip(one(level, eta), graphs.dense_form(one, level, eta), strict=True):
        assert (mine - theirs).abs().max() < 1e-4


def test_the_command_writes_its_numbers(tool, configs, tmp_path, capsys):
    path = tmp_path / 'numbers.json'
    arguments = ('--measure', 'flow', '--iters', '1', '--warmup', '1', '--json', str(path))
    tool.main([configs['ddfp'], *arguments])
    numbers = json.loads(path.read_text())
    assert numbers['measure'] == 'flow' and numbers['machine']['torch'] == torch.__version__
    assert len(numbers['runs']['flow']) == 1
    assert '64 features of 16 channels, 11 components' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('method', 'what', 'sentence'),
    [
        ('ddfp', 'plain', 'give a config of configs/supervised/'),
        ('supervised', 'teacher', "needs a config with model.teacher.weights='ema'"),
        ('fixmatch', 'flow', 'needs a config with a density'),
        ('fixmatch', 'auxiliary', 'needs a config with a CCTObjective'),
        ('fixmatch', 'contrast', 'needs a config with a DGCLObjective'),
        ('fixmatch', 'graphs', 'needs a config with rounds of label correction'),
    ],
)
def test_a_config_without_the_measured_part(tool, configs, capsys, method, what, sentence):
    with pytest.raises(SystemExit) as info:
        tool.main([configs[method], '--measure', what, '--iters', '1', '--warmup', '1'])
    assert info.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    'arguments',
    [
        ('--iters', '0'),
        ('--data', '--crop', '32'),
        ('--data', '--measure', 'inference'),
        ('b.py', '--measure', 'flow'),
    ],
)
def test_arguments_that_contradict_each_other(tool, arguments):
    with pytest.raises(SystemExit) as info:
        tool.parse_args(['a.py', *arguments])
    assert info.value.code == 2
