"""Errors of building from a config, as sentences that name the place."""

import pytest
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime.config_checks import check_config, check_training
from mmseg_semi.runtime.config_errors import describe_build_error, place_of
from mmseg_semi.runtime.config_files import check_bases, failed_import
from mmseg_semi.runtime.config_structure import check_structure
from mmseg_semi.runtime.configs import load_config

THINGS = Registry('thing', scope='mmseg')


@THINGS.register_module()
class Base:
    def __init__(self, size: int = 1) -> None:
        self.share = 1 / size


@THINGS.register_module()
class Derived(Base):
    def __init__(self, shape: str = 'round', **kwargs) -> None:
        super().__init__(**kwargs)


def sentence(part: dict) -> str | None:
    """What building a part of a config says."""
    cfg = Config(dict(model=dict(head=part), other=dict(type='Base')))
    try:
        THINGS.build(cfg.model.head)
    except Exception as error:
        return describe_build_error(error)
    return None


@pytest.mark.parametrize(
    ('part', 'said'),
    [
        (dict(type='Derived', sice=2), "'sice'; did you mean 'size'?"),
        (dict(type='Base', colour=2), "'colour'; remove it, its keys are size"),
        (dict(type='Bas'), "type='Bas' is not registered (mmseg::thing); did you mean 'Base'?"),
        (dict(size=2), "config: model.head has no 'type'; add type='...'"),
        (dict(type='Base', size=0), "type='Base' cannot be built with size=0 (division by zero)"),
        (dict(type='Derived', size='4'), "cannot be built with size='4' (unsupported operand"),
    ],
)
def test_what_cannot_be_built(part, said):
    found = sentence(part)
    assert found.startswith('config: model.head') and said in found, found


def test_other_errors_are_no_matter_of_the_config():
    for error in (ValueError('x'), KeyError('type')):
        try:
            raise error
        except Exception as raised:
            assert describe_build_error(raised) is None


def test_a_loader():
    cfg = Config(dict(train_dataloader=dict(dataset=[1, 2], batch_size='4', sampler=None)))
    try:
        Runner.build_dataloader(dict(cfg.train_dataloader, sampler=lambda: 0))
    except Exception as error:
        found = describe_build_error(error)
    assert "type='DataLoader' cannot be built with batch_size='4'" in found


def test_the_place_of_a_part():
    root = dict(a=dict(b=[dict(x=1), dict(x=2)]), c=dict(x=3), d=dict(x=3))
    assert place_of(dict(x=2), root) == 'a.b.1'
    assert place_of(dict(x=3), root) == place_of(dict(x=9), root) == ''


def test_bases_of_bases(tmp_path):
    for name, base in (
        ('a', './b.py'),
        ('b', ['sub/c.py', 'mmseg::default.py']),
        ('sub/c', '../d.py'),
    ):
        (tmp_path / f'{name}.py').parent.mkdir(exist_ok=True)
        (tmp_path / f'{name}.py').write_text(f'_base_ = {base!r}\n')
    with pytest.raises(SetupError, match=r"c.py': its _base_ '../d.py' does not exist"):
        check_bases(tmp_path / 'a.py')
    (tmp_path / 'd.py').write_text('_base_ = "b.py"\n')
    with pytest.raises(
        SetupError, match=r'back to itself by its _base_ \(b.py, c.py, d.py, b.py\)'
    ):
        check_bases(tmp_path / 'a.py')
    (tmp_path / 'd.py').write_text('x = 1\n')
    check_bases(tmp_path / 'a.py')


def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'broken_module_of_a_user.py').write_text('1 / 0')
    text = "Failed to import custom modules from {'imports': ['json', 'broken_module_of_a_user']}"
    assert (
        "'broken_module_of_a_user', which cannot be imported (ZeroDivisionError"
        in failed_import(text)
    )
    assert failed_import('something else') is None


@pytest.mark.parametrize(
    ('part', 'said'),
    [
        (dict(model=5), 'model is 5'),
        (
            dict(model=dict(type='M', student=dict(backbone='R50'))),
            "model.student.backbone is 'R50'",
        ),
        (dict(model=dict(type='M', decode_head=[dict(type='H'), 3])), 'model.decode_head.1 is 3'),
        (dict(val_dataloader=dict(batch_size=1)), "val_dataloader has no 'dataset'"),
        (dict(test_dataloader=dict(dataset=None)), 'test_dataloader.dataset is missing or None'),
        (dict(param_scheduler=[dict(end=4)]), "param_scheduler.0 has no 'type'"),
        (dict(optim_wrapper='SGD'), "optim_wrapper is 'SGD'"),
        (
            dict(train_dataloader=dict(batch_size='4', dataset=dict(type='D'))),
            "train_dataloader.batch_size is '4', expected a whole number of 1 or more",
        ),
        (dict(val_dataloader=dict(batch_size=True, dataset=dict(type='D'))), 'batch_size is True'),
        (
            dict(test_dataloader=[dict(num_workers=-1, dataset=dict(type='D'))]),
            'test_dataloader.0.num_workers is -1, expected a whole number of 0 or more',
        ),
        (
            dict(train_pipeline=[dict(type='A'), dict(type=['B'])]),
            "train_pipeline.1 has type=['B'], expected the name of a type",
        ),
        (dict(type=3), 'the config has type=3'),
    ],
)
def test_the_outline(part, said):
    with pytest.raises(SetupError, match='config: ') as caught:
        check_structure(Config(part))
    assert said in str(caught.value)


def test_outlines_that_are_right():
    check_structure(Config(dict()))
    by_domain = dict(
        one=dict(batch_size=1, dataset=dict(type='D')), other=dict(dataset=dict(type='D'))
    )
    check_structure(Config(dict(val_dataloader=by_domain, param_scheduler=dict(type='PolyLR'))))
    schedules = dict(generator=[dict(type='PolyLR')], critic=dict(type='PolyLR'))
    check_structure(Config(dict(param_scheduler=schedules, model=dict(type='M', teacher=None))))
    loader = dict(batch_size=1, num_workers=0, dataset=dict(type=Base))
    check_structure(Config(dict(train_dataloader=loader)))


def test_an_import_that_a_config_looks_at_later(tmp_path):
    """MMEngine's configs that import resolve their names when a value is read."""
    path = tmp_path / 'config.py'
    path.write_text('from mmengine_ext import nothing\nmodel = dict(type=nothing)\n')
    with pytest.raises(SetupError, match=r"config\.py': .*mmengine_ext.*; install the module, or"):
        load_config(path)


def test_values():
    model = dict(type='M')
    check_config(Config(dict(model=model, randomness=dict(seed=None))))
    for part, said in (
        (dict(randomness=dict(seed=True)), 'seed=True'),
        (
            dict(env_cfg=dict(cudn_benchmark=True)),
            "'cudn_benchmark'; did you mean 'cudnn_benchmark'?",
        ),
        (dict(val_cfg=dict()), 'has val_cfg, but no val_dataloader and no val_evaluator'),
        (dict(custom_hooks=['StopHook']), "custom_hooks.0 is 'StopHook'"),
    ):
        with pytest.raises(SetupError) as caught:
            check_config(Config(dict(model=model) | part))
        assert said in str(caught.value)
    with pytest.raises(SetupError, match='no train_dataloader, train_cfg, optim_wrapper, so there'):
        check_training(Config(dict(model=model)), 'mine.py')
