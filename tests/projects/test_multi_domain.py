"""The segmentor of several domains, its batches and its order, without a runner."""

import copy
import itertools

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from tiny_domains import CLASSES, domains_batch, domains_model, single, tiny_domains
from tiny_semi import snapshot, tiny_batch, tiny_model, tiny_recipe
from whole_runs import ROOT, assert_same

from mmseg_semi.data.samplers import MultiSourceSampler, SampleKey
from mmseg_semi.data.splits import split_folder
from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.measuring import stored_bytes, trace_memory
from mmseg_semi.runtime.optimisers import StudentOptimWrapperConstructor
from mmseg_semi.step.segmentor import NonFiniteLossError
from projects import multi_domain
from projects.multi_domain import MultiDomainSampler, Turns, domain_collate, join
from projects.multi_domain.evaluation import means
from projects.multi_domain.recipe import Domain

NAMES = ('road', 'scenes')


def sgd(model, lr: float = 0.05, paramwise_cfg: dict | None = None, **changes) -> OptimWrapper:
    constructor = StudentOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=lr, momentum=0.9), **changes),
        paramwise_cfg,
    )
    return constructor(model)


def step(model, wrapper, iteration: int, names=NAMES, semi: bool = True) -> dict[str, float]:
    """An iteration of the runner, without its hooks."""
    model.start_step(iteration, seed=5)
    batch = domains_batch(names, seed=iteration, semi=semi)
    values = model.train_step(batch, wrapper)
    model.finish_step()
    return values


# -- order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('turns', [None, dict(a=2, b=1, c=3)])
def test_alternating_domains_count_their_own_steps(turns):
    order = Turns('abc', 'alternate', turns)
    seen = dict.fromkeys('abc', 0)
    names = []
    for iteration in range(30):
        assert order.steps(iteration) == seen
        ((name, own),) = order.at(iteration)
        assert own == seen[name]
        seen[name] += 1
        names.append(name)
    assert ''.join(names).startswith('abcabc' if turns is None else 'aabcccaabccc')
    assert [order.per_step(name) for name in 'abc'] == ([3, 3, 3] if turns is None else [3, 6, 2])


def test_joint_domains_all_have_a_step():
    order = Turns('ab')
    assert order.at(7) == [('a', 7), ('b', 7)] and order.steps(7) == dict(a=7, b=7)
    assert order == Turns('ab', 'joint') != Turns('ba') and order != Turns('ab', 'alternate')


@pytest.mark.parametrize(
    'arguments',
    [('ab', 'both'), ('ab', 'alternate', dict(a=1)), ('ab', 'alternate', dict(a=0, b=1))],
)
def test_orders_that_are_none(arguments):
    with pytest.raises(SetupError):
        Turns(*arguments)


# -- sharing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('separate', [False, True])
@pytest.mark.parametrize('weights', ['ema', 'shared'])
def test_one_backbone_in_memory_optimiser_and_state(weights, separate):
    recipe = dict(teacher=dict(weights=weights, mode='train', buffers='own'))
    model = domains_model(recipe=recipe, separate_statistics=separate)
    alone = tiny_model('fixmatch', num_classes=11, **recipe)
    road, scenes = model.domains.values()
    for kind in ('student', 'teacher'):
        one, other = (getattr(domain, kind).backbone for domain in (road, scenes))
        assert (one is other) is not separate
        for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
            assert mine is theirs
        for mine, theirs in zip(one.buffers(), other.buffers(), strict=True):
            assert (mine is theirs) is not separate
    assert road.student.decode_head is not scenes.student.decode_head

    # two copies of weights with an averaged teacher, one without, whatever the number of domains
    copies = 2 if weights == 'ema' else 1
    backbone = stored_bytes(alone.student.backbone.parameters())
    heads = [stored_bytes(d.student.decode_head.parameters()) for d in model.domains.values()]
    assert stored_bytes(model.parameters()) == copies * (backbone + sum(heads))

    wrapper = sgd(model, paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}))
    groups = wrapper.optimizer.param_groups
    listed = [parameter for group in groups for parameter in group['params']]
    assert len(listed) == len({id(parameter) for parameter in listed})
    assert {id(p) for p in listed} == {id(p) for p in model.parameters() if p.requires_grad}
    slow = {
        id(p) for group in groups if group['lr'] == pytest.approx(0.005) for p in group['params']
    }
    assert slow == {id(p) for p in road.student.backbone.parameters()}

    state = model.state_dict()
    tensors = [t for t in state.values() if t.numel()]
    assert len({t.data_ptr() for t in tensors}) == len(tensors)
    assert any(key.startswith('shared.backbone.') for key in state)
    inside = [key for key in state if key.startswith('domains.') and '.backbone.' in key]
    assert all(key.endswith(('running_mean', 'running_var', 'tracked')) for key in inside)
    assert bool(inside) is separate


@pytest.mark.parametrize('separate', [False, True])
@pytest.mark.parametrize('method', ['fixmatch', 'cct'])
def test_the_state_dict_fills_every_part(method, separate):
    changes = dict(separate_statistics=separate)
    model = domains_model(method, **changes)
    wrapper = sgd(model)
    for iteration in range(2, 4):
        step(model, wrapper, iteration)
    state = snapshot(model)
    other = domains_model(method, seed=1, **changes)
    assert set(other.state_dict()) == set(state)
    other.load_state_dict(state)
    assert_same(dict(other.state_dict()), dict(state))
    for name in NAMES:
        mine, theirs = (m.domains[name].state_dict() for m in (model, other))
        assert_same(dict(mine), dict(theirs))
    with pytest.raises(RuntimeError, match='shared.backbone.stem.0.weight'):
        other.load_state_dict({k: v for k, v in state.items() if 'stem.0' not in k})


def test_shared_parts_start_as_the_first_domain_says():
    """Also where each domain has statistics of its own, and with no draw more than a run of its own makes."""
    alone = tiny_model('fixmatch', num_classes=11)
    for separate in (False, True):
        model = domains_model(separate_statistics=separate)
        one, other = (domain.student.backbone for domain in model.domains.values())
        assert_same(dict(one.state_dict()), dict(other.state_dict()))
        expected = [p.std() for p in alone.student.backbone.parameters() if p.ndim > 1]
        found = [p.std() for p in one.parameters() if p.ndim > 1]
        assert torch.allclose(torch.stack(found), torch.stack(expected), rtol=0.3)
        assert not any(buffer.any() for n, buffer in one.named_buffers() if n.endswith('mean'))


def test_pyramid_of_cct_belongs_to_the_encoder_if_asked():
    model = domains_model(
        'cct', share=('backbone', 'decode_head.psp_modules', 'decode_head.bottleneck')
    )
    one, other = (domain.student.decode_head for domain in model.domains.values())
    assert one.psp_modules is other.psp_modules and one.bottleneck is other.bottleneck
    assert one.conv_seg is not other.conv_seg
    keys = [key for key in model.state_dict() if 'bottleneck' in key]
    assert keys and all(key.startswith('shared.decode_head.bottleneck.') for key in keys)
    values = step(model, sgd(model), 4)
    assert values['road.cct.loss'] > 0 and values['scenes.cct.loss'] > 0


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        (dict(share=('neck',)), "has no 'neck'"),
        (dict(share=()), 'is empty'),
        (dict(share=('decode_head',)), "share 'decode_head'.*(num_classes|conv_seg)"),
        (dict(share=('backbone', 'backbone.layer1')), 'is shared already'),
        (dict(schedule='sometimes'), "schedule='sometimes'"),
        (dict(iters_per_epoch=0), 'iters_per_epoch=0'),
        (dict(init_cfg=dict(type='Pretrained')), 'init_cfg'),
    ],
)
def test_models_that_cannot_be(changes, reason):
    with pytest.raises(SetupError, match=reason):
        domains_model(**changes)


def build(domains: dict, **changes):
    init_default_scope('mmseg')
    return MODELS.build(dict(type='MultiDomainSegmentor', domains=domains, **changes))


def test_domains_that_do_not_fit_together():
    one, other = (tiny_recipe('supervised', num_classes=n) for n in (3, 5))
    other['student']['backbone'] |= dict(strides=(1, 2, 1, 1))
    with pytest.raises(SetupError, match="'a' and 'b' share 'backbone'.*stride"):
        build(dict(a=one, b=other))
    with pytest.raises(SetupError, match="domain 'a': .*teachers of all domains"):
        build(dict(a=one | {'teacher': dict(weights='ema')}))
    with pytest.raises(SetupError, match="domain 'a': objective 'selftrain' needs a teacher"):
        build(dict(a={**tiny_recipe('fixmatch'), 'teacher': None}))
    with pytest.raises(SetupError, match="domain 'a': type='EncoderDecoder'"):
        build(dict(a=tiny_recipe('supervised')['student'] | dict(type='EncoderDecoder')))
    for name in ('mean', 'a.b', 'keys', '1a'):
        with pytest.raises(SetupError, match='cannot name a domain'):
            build({name: one})
    with pytest.raises(SetupError, match='is empty'):
        build({})


# -- a step ----------------------------------------------------------------------------------------


class Kept(OptimWrapper):
    """Leaves gradients where they are."""

    def step(self, **kwargs) -> None:
        pass

    def zero_grad(self, **kwargs) -> None:
        pass


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('method', ['supervised', 'fixmatch', 'ddfp', 'dgcl', 'cct', 'mllc'])
def test_joint_gradient_is_that_of_the_sum(method):
    """In float64, against one backward pass through all domains' losses at once."""
    model = domains_model(method, recipe=dict(norm='GN', dropout=0.0))
    wrapper, semi = sgd(model), method != 'supervised'
    for iteration in range(5):  # banks and densities fill
        step(model, wrapper, iteration, semi=semi)
    model.double()
    for domain in model.domains.values():  # images, too
        inner = domain.data_preprocessor.forward

        def forward(data, training=False, inner=inner):
            data = inner(data, training)
            return data | {'inputs': {k: v.double() for k, v in data['inputs'].items()}}

        domain.data_preprocessor.forward = forward
    batch = domains_batch(NAMES, seed=9, semi=semi)
    model.zero_grad()
    other = copy.deepcopy(model)

    model.start_step(6, seed=5)
    values = model.train_step(copy.deepcopy(batch), Kept(torch.optim.SGD(model.parameters(), 0.1)))

    from mmseg_semi.data.randomness import derive_seed
    from projects.multi_domain.data import by_domain

    total = 0
    for index, (name, part) in enumerate(by_domain(batch).items()):
        domain = other.domains[name]
        domain.start_step(6, derive_seed(5, index) if index else 5)
        data = domain.data_preprocessor.forward(part, training=True)
        losses = domain.loss(data['inputs'], data['data_samples'])
        total = total + domain.sum_losses(losses)[0]
    total.backward()
    assert values['loss'] == pytest.approx(total.item(), rel=1e-6)
    found, expected = gradients(model), gradients(other)
    assert found.keys() == expected.keys()
    own = {'shared.backbone', 'domains.road', 'domains.scenes'}
    assert {'.'.join(name.split('.')[:2]) for name in found} == own
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        assert (found[name] - gradient).abs().max().item() <= 1e-11 * max(scale, 1e-3), name


@pytest.mark.parametrize('schedule', ['joint', 'alternate'])
def test_one_domain_is_the_plain_segmentor(schedule):
    """Bit for bit: initial weights, draws, losses, and all state after steps with every part of DDFP."""
    model = domains_model('ddfp', names=('road',), schedule=schedule)
    plain = tiny_model('ddfp', num_classes=11)
    wrappers = sgd(model), sgd(plain)
    for iteration in range(6):
        values = step(model, wrappers[0], iteration, names=('road',))
        plain.start_step(iteration, seed=5)
        expected = plain.train_step(tiny_batch(num_classes=11, seed=iteration), wrappers[1])
        plain.finish_step()
        assert {k.removeprefix('road.'): v for k, v in values.items() if k != 'loss'} == expected
        assert values['loss'] == expected['loss']
    assert_same(dict(model.domains['road'].state_dict()), dict(plain.state_dict()))


def test_where_domains_alternate_the_other_one_rests():
    model = domains_model(schedule='alternate', turns=dict(road=2, scenes=1))
    wrapper = sgd(model, lr=0.02)
    moved = []
    for iteration in range(6):
        before = snapshot(model)
        name = model.turns.at(iteration)[0][0]
        values = step(model, wrapper, iteration, names=(name,))
        assert {key.partition('.')[0] for key in values} == {name, 'loss'}
        assert values['loss'] == values[f'{name}.loss']
        after = model.state_dict()
        changed = {k.split('.')[1] for k, v in after.items() if not torch.equal(v, before[k])}
        assert changed == {'backbone', name}
        moved.append(name)
    assert moved == ['road', 'road', 'scenes'] * 2


def test_a_batch_of_another_turn_is_refused():
    model = domains_model('supervised', schedule='alternate')
    with pytest.raises(SetupError, match=r"iteration 1 is of \['road'\].*turn of \['scenes'\]"):
        step(model, sgd(model), 1, names=('road',), semi=False)
    with pytest.raises(SetupError, match='start_step'):
        model.train_step(domains_batch(('road',), semi=False), sgd(model))


@pytest.mark.parametrize('separate', [False, True])
def test_running_statistics(separate):
    """Shared: each domain's pass moves them in turn. Separate: as if the domain had been alone."""
    model = domains_model('supervised', separate_statistics=separate)
    alone = {name: domains_model('supervised', names=(name,)) for name in NAMES}
    for other in alone.values():
        other.load_state_dict(
            {k: v for k, v in model.state_dict().items() if k in other.state_dict()}, strict=False
        )
    wrapper = Kept(torch.optim.SGD(model.parameters(), 0.1))
    step(model, wrapper, 0, semi=False)
    means_of = {}
    for index, name in enumerate(NAMES):
        own = model.domains[name].student.backbone.stem[1].running_mean
        other = alone[name]
        other.start_step(0, seed=5)
        batch = domains_batch(NAMES, seed=0, semi=False)
        half = {k: {b: v[2 * index : 2 * index + 2] for b, v in batch[k].items()} for k in batch}
        other.train_step(half, Kept(torch.optim.SGD(other.parameters(), 0.1)))
        means_of[name] = other.domains[name].student.backbone.stem[1].running_mean
        assert torch.allclose(own, means_of[name], rtol=1e-5, atol=1e-7) is separate
    road, scenes = means_of.values()
    if not separate:  # momentum 0.1, road first
        assert torch.allclose(own, 0.9 * road + scenes, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('counts', [1, 2])
def test_gradient_accumulation_counts_iterations(counts):
    model = domains_model('supervised')
    wrapper = sgd(model, accumulative_counts=counts)
    for iteration in range(4):
        before = snapshot(model)
        step(model, wrapper, iteration, semi=False)
        parameter = model.domains['road'].student.decode_head.conv_seg.weight
        key = 'domains.road.student.decode_head.conv_seg.weight'
        assert torch.equal(parameter, before[key]) is bool((iteration + 1) % counts)
    assert wrapper._inner_count == 4


def test_activations_of_one_domain_at_a_time():
    def rise(names: tuple[str, ...]) -> int:
        model = domains_model('supervised', names=names)
        wrapper = Kept(torch.optim.SGD(model.parameters(), 0.1))
        batch = domains_batch(names, semi=False, size=128)

        def one() -> None:
            model.start_step(0)
            model.train_step(copy.deepcopy(batch), wrapper)

        one()  # gradients have their memory
        return trace_memory(one, torch.device('cpu')).rise

    one, two = rise(('road',)), rise(NAMES)
    assert two < 1.1 * one


@pytest.mark.parametrize('name', NAMES)
def test_a_loss_that_is_not_finite_names_domain_and_images(name):
    model = domains_model('supervised')
    wrapper = sgd(model)
    with torch.no_grad():
        model.domains[name].student.decode_head.conv_seg.bias.fill_(float('nan'))
    before = snapshot(model)
    with pytest.raises(
        NonFiniteLossError, match=f'^{name}.sup.decode.loss_ce=nan.*l0.png, l1.png$'
    ):
        step(model, wrapper, 0, semi=False)
    for key, value in model.state_dict().items():
        if 'running' not in key and 'tracked' not in key:
            assert torch.equal(value.nan_to_num(), before[key].nan_to_num()), key


def test_values_are_read_once(monkeypatch):
    model, reads = domains_model('fixmatch'), []
    read = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda t: reads.append(t.shape) or read(t))
    for name in ('item', '__bool__', '__float__'):
        call = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda t, call=call: reads.append(t.shape) or call(t)
        )
    model.start_step(0, seed=5)
    batch = domains_batch(NAMES)
    reads.clear()
    values = model.train_step(batch, sgd(model))
    assert [shape.numel() for shape in reads if len(shape)] == [len(values)]


def test_answers_come_from_the_chosen_domain():
    model = domains_model().eval()
    images = torch.randn(1, 3, 32, 32)
    for name, count in CLASSES.items():
        for network in ('teacher', 'student'):
            with model.predict_in(name), model.predict_with(network), torch.no_grad():
                logits = model(images)
                expected = getattr(model.domains[name], network)(images)
            assert logits.shape[1] == count and torch.equal(logits, expected)
    assert model.network('student', 'scenes') is model.domains['scenes'].student
    assert model.predicting_network == 'teacher'
    with pytest.raises(SetupError, match='publish'):
        model.val_step({})
    with pytest.raises(SetupError, match="domain 'sea'"), model.predict_in('sea'):
        pass


# -- batches ---------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def cfg(tmp_path_factory):
    return tiny_domains(tmp_path_factory.mktemp('domains'), batch_sizes=(2, 1))


@pytest.fixture(scope='module')
def dataset(cfg):
    init_default_scope('mmseg')
    return DATASETS.build(cfg.train_dataloader.dataset)


def sampler_of(dataset, sizes=((2, 2), (1, 3)), seed: int = 3, **changes) -> MultiDomainSampler:
    samplers = {
        name: dict(batch_size=sum(ratio), source_ratio=ratio)
        for name, ratio in zip(NAMES, sizes, strict=True)
    }
    return MultiDomainSampler(dataset, samplers, seed=seed, **changes)


def test_every_domain_reads_what_it_would_alone(dataset):
    keys = list(itertools.islice(sampler_of(dataset), 8 * 20))
    road = MultiSourceSampler(dataset.domains['road'], 4, [2, 2], seed=3)
    expected = list(itertools.islice(road, 4 * 20))
    batches = [keys[i : i + 8] for i in range(0, len(keys), 8)]
    assert [key for batch in batches for key in batch[:4]] == expected
    first = len(dataset.domains['road'])
    scenes = [key.index - first for batch in batches for key in batch[4:]]
    for start in range(0, len(scenes), 4):  # 1 labelled of 4, 3 unlabelled of 6
        assert [index < 4 for index in scenes[start : start + 4]] == [True, False, False, False]
    labeled, unlabeled = [i for i in scenes if i < 4], [i for i in scenes if i >= 4]
    # endless passes, each of them whole
    assert all(sorted(labeled[i : i + 4]) == [0, 1, 2, 3] for i in range(0, 20, 4))
    assert all(sorted(unlabeled[i : i + 6]) == [*range(4, 10)] for i in range(0, 60, 6))
    assert not {key.seed for key in keys[:4]} & {key.seed for key in keys[4:8]}


@pytest.mark.parametrize(
    'changes',
    [{}, dict(schedule='alternate'), dict(schedule='alternate', turns=dict(road=3, scenes=2))],
)
@pytest.mark.parametrize('skipped', [1, 7])
def test_a_sampler_begins_anywhere(dataset, changes, skipped):
    sizes = ((2, 2), (1, 1))
    sampler = sampler_of(dataset, sizes, **changes)
    size = sampler.batch_size
    keys = list(itertools.islice(sampler, 20 * size))
    assert size == (6 if not changes else 4)
    if changes:
        order = Turns(NAMES, **changes)
        for iteration in range(20):
            batch = keys[iteration * size : (iteration + 1) * size]
            ((name, _),) = order.at(iteration)
            count = 4 if name == 'road' else 2
            assert batch[count:] == [None] * (4 - count)
            first = dataset.offsets[name]
            assert all(first <= key.index < first + 10 for key in batch[:count])
    other = sampler_of(dataset, sizes, seed=0, **changes)
    other.seed = 3
    other.skip(skipped * size)
    assert list(itertools.islice(other, 5 * size)) == keys[skipped * size :][: 5 * size]
    with pytest.raises(ValueError, match='multiple'):
        other.skip(1)


def test_samples_carry_their_domain(dataset):
    for name, classes in CLASSES.items():
        sample = dataset[SampleKey(dataset.offsets[name], 1)]
        assert sample['data_samples']['labeled'].metainfo['domain'] == name
        labels = sample['data_samples']['labeled'].gt_sem_seg.data
        assert labels[labels != 255].max() < classes
    assert len(dataset) == 20 and dataset[None] is None
    assert {name: len(meta['classes']) for name, meta in dataset.metainfo.items()} == CLASSES
    batch = domain_collate([dataset[SampleKey(0, 1)], None])
    assert len(batch['inputs']['labeled']) == 1
    with pytest.raises(IndexError):
        dataset[20]


def test_samplers_that_cannot_be(dataset):
    with pytest.raises(SetupError, match=r"\['road'\].*\['road', 'scenes'\]"):
        MultiDomainSampler(dataset, dict(road=dict(batch_size=2, source_ratio=[1, 1])))
    with pytest.raises(SetupError, match='batch_size=5'):
        sampler_of(dataset, batch_size=5)
    with pytest.raises(SetupError, match="domain 'scenes': .*cannot be shared out"):
        samplers = {
            n: dict(batch_size=2, source_ratio=r)
            for n, r in zip(NAMES, ([1, 1], [1, 2]), strict=True)
        }
        MultiDomainSampler(dataset, samplers)


# -- recipes ---------------------------------------------------------------------------------------


def test_joining_configs(tmp_path):
    road, scenes = (single(tmp_path, name, 'fixmatch') for name in NAMES)
    one, other = Domain('road', road), Domain('scenes', scenes)
    joined = join(one, other)
    assert joined['model']['domains'].keys() == set(NAMES)
    assert joined['train_dataloader']['batch_size'] == 8
    assert joined['model']['teacher'] == road.model.teacher.to_dict()
    with pytest.raises(SetupError, match='give each a name of its own'):
        join(one, Domain('road', scenes))
    alternate = join(one, other, schedule='alternate', turns=dict(road=1, scenes=1))
    assert alternate['train_dataloader']['batch_size'] == 4
    assert alternate['model']['iters_per_epoch'] == 2 * road.model.iters_per_epoch
    with pytest.raises(SetupError, match='set iters_per_epoch'):
        join(one, other, schedule='alternate', turns=dict(road=2, scenes=1))
    scenes.model.teacher.mode = 'train'
    with pytest.raises(SetupError, match="domain 'road' has teacher"):
        join(one, other)


def test_joined_configs_import_what_their_domains_do(tmp_path):
    def imports(*wanted):
        configs = [single(tmp_path, name, 'supervised') for name in NAMES]
        for cfg, own in zip(configs, wanted, strict=True):
            cfg.custom_imports = own
        return join(*map(Domain, NAMES, configs))['custom_imports']

    ours = ['mmseg_semi', 'projects.multi_domain']
    strict = dict(imports=['mmseg_semi', 'projects.weak_labels'], allow_failed_imports=False)
    assert imports(None, strict) == strict | dict(imports=[*ours, 'projects.weak_labels'])
    lenient = dict(imports='perhaps', allow_failed_imports=True)
    assert imports(lenient, strict) == dict(
        imports=[*ours, 'perhaps', 'projects.weak_labels'], allow_failed_imports=True
    )


def test_a_domain_whose_import_fails(tmp_path):
    """Each as its own config says, whatever its neighbour's allows."""
    path = tmp_path / 'sea.py'
    path.write_text("custom_imports = dict(imports=['perhaps'], allow_failed_imports=True)\n")
    with pytest.warns(UserWarning, match='perhaps failed to import'):
        multi_domain.domain('sea', str(path))
    path.write_text("custom_imports = dict(imports=['perhaps'])\n")
    with pytest.raises(ImportError, match='perhaps'):
        multi_domain.domain('sea', str(path))


def test_a_domain_whose_config_does_not_exist():
    with pytest.raises(SetupError, match="domain 'sea': config 'configs/sea.py' does not exist"):
        multi_domain.domain('sea', 'configs/sea.py')
    assert (
        multi_domain.domain(
            'road', 'configs/fixmatch/camvid_46_small.py', model=dict(iters_per_epoch=7)
        ).config.model.iters_per_epoch
        == 7
    )


def test_means_are_plain_and_over_common_metrics():
    metrics = [
        {'teacher/mIoU': 40.0, 'student/mIoU': 30.0, 'teacher/x': 1.0},
        {'teacher/mIoU': 70.0, 'student/mIoU': 31.0},
    ]
    assert means(metrics, 'teacher') == {
        'mean/mIoU': 55.0,
        'mean/teacher/mIoU': 55.0,
        'mean/student/mIoU': 30.5,
    }


CONFIGS = sorted((ROOT / 'projects/multi_domain/configs').glob('*.py'))


def labels_loaded(pipeline: list[dict]) -> int:
    return next(step['num_classes'] for step in pipeline if step['type'] == 'LoadSegLabels')


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_configs_agree_with_themselves(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = configs.load_config(path)
    init_default_scope('mmseg')
    MMLogger.get_current_instance().setLevel('ERROR')
    with torch.device('meta'):  # no memory, no random numbers
        model = MODELS.build(without_pretraining(cfg.model))
    data = cfg.train_dataloader.dataset.domains
    assert list(model.domains) == list(data) == list(cfg.val_dataloader)
    for name, segmentor in model.domains.items():
        labeled = data[name].labeled
        assert labels_loaded(labeled.pipeline) == segmentor.num_classes
        classes = DATASETS.get(labeled.type).METAINFO['classes']
        assert len(classes) == segmentor.num_classes
        if data[name].get('split'):
            folder = split_folder(data[name].split)
            if folder.parts[0] in ('configs', 'projects'):
                assert all((folder / f'{kind}.txt').is_file() for kind in ('labeled', 'unlabeled'))
            assert folder.name in path.stem or path.stem.endswith('small')
        else:
            assert data[name].labeled.type == 'QuickstartDataset'
        for objective in segmentor.objectives:
            backgrounds = getattr(objective, 'background_classes', (0,))
            assert not {'car', 'person', 'pedestrian', 'vehicle', 'chair'} & {
                classes[c] for c in backgrounds
            }
    # CCT, and its supervised baselines on the same network, share the head, too
    of_cct = 'cct' in path.stem or path.stem.startswith('supervised')
    expected = {'backbone'} | ({'decode_head'} if of_cct else set())
    assert set(dict(model.shared.named_children())) == expected
    # in turns, an iteration has one domain's batch, and an epoch of both twice as many iterations
    domains = 2 if cfg.model.schedule == 'alternate' else 1
    epoch = 50 if path.stem.endswith('small') else 500
    assert cfg.model.iters_per_epoch == epoch * domains
    sampler = cfg.train_dataloader.sampler
    sizes = [s.batch_size for s in sampler.samplers.values()]
    assert cfg.train_dataloader.batch_size == sum(sizes) / domains


def without_pretraining(node):
    if isinstance(node, dict):
        return {k: without_pretraining(v) for k, v in node.items() if k != 'init_cfg'}
    return [without_pretraining(item) for item in node] if isinstance(node, list) else node


def test_a_domain_whose_class_file_is_missing(cfg):
    domains = copy.deepcopy(cfg.train_dataloader.dataset.domains.to_dict())
    for kind in ('labeled', 'unlabeled'):
        domains['scenes'][kind] = dict(
            type='FolderDataset',
            data_file='nowhere/data.yaml',
            part=kind,
            pipeline=domains['scenes'][kind]['pipeline'],
        )
    init_default_scope('mmseg')
    with pytest.raises(SetupError, match="^domain 'scenes': .*nowhere/data.yaml"):
        DATASETS.build(dict(type='MultiDomainDataset', domains=domains))
