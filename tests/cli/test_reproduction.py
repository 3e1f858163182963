"""docs/reproduction.md says what the configs say, and why they differ from papers and released code."""

import copy

import pytest
import yaml
from miniatures import ROOT
from mmengine.config import Config
from shipped import shipped

from mmseg_semi.cli import reproduction
from mmseg_semi.cli.reproduction import ledger
from mmseg_semi.cli.reproduction.values import find_value, show
from mmseg_semi.errors import SetupError

ROW = dict(constant='Crop', key='crop_size', code=[513, 513], source='config', ours=[513, 513])


@pytest.fixture(scope='module')
def text() -> str:
    return reproduction.reproduction(load=shipped)


def read(folder, load=shipped, **changes) -> ledger.Ledger:
    """A ledger of one row: :data:`ROW` with changes, without the fields that are None."""
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not None}
    profiles = dict(plain='ddfp/voc_732.py', reference='ddfp/reference/voc_732.py')
    table = dict(title='VOC', profiles=profiles, rows=[row])
    data = dict(title='DDFP', paper='', code='', readme='', sources=dict(config='config.yaml'))
    (folder / 'ddfp.yaml').write_text(yaml.safe_dump({**data, 'tables': [table]}))
    return ledger.read_ledger('ddfp', load, folder)


def test_the_page_is_what_the_command_writes(text):
    assert (ROOT / 'docs/reproduction.md').read_text() == text, 'run: python tools/reproduction.py'


def test_every_file_is_a_part_of_the_page(text):
    files = sorted(path.stem for path in ledger.FOLDER.glob('*.yaml'))
    assert files == sorted(ledger.METHODS)
    titles = [line[3:] for line in text.splitlines() if line.startswith('## ')]
    assert len(titles) == len(files) and titles[:4] == ['DDFP', 'DGCL', 'CCT', 'MLLC']


def test_a_line_of_the_page(text):
    lines = text.splitlines()
    (line,) = [line for line in lines if line.startswith('| I-VAT, step ξ ')]
    assert line.startswith('| I-VAT, step ξ | – | 1e-6 [1] | **0.1** | 1e-6 | in float32 ')
    assert '| Learning rate | – | 0.01 [7] | **0.005** | 0.01 | ' in text
    assert '| Confidence threshold | – | – | 0.95 | that of VOC |' in lines


def test_a_config_that_drifts_is_refused():
    def load(path):
        cfg = shipped(path)
        if path.parts[-2:] == ('ddfp', 'voc_732.py'):
            cfg = Config(copy.deepcopy(cfg._cfg_dict))
            cfg.model.objectives[2].eps = 5.0
            cfg.optim_wrapper.optimizer.lr = 0.01
        return cfg

    with pytest.raises(SetupError) as refused:
        reproduction.reproduction(load=load)
    said = str(refused.value)
    assert said.startswith('the ledger of constants does not hold (3): ')
    place = 'ddfp.yaml, PASCAL VOC, Length ε of the move'
    assert f"{place}: plain is '5', the ledger expects '4'" in said
    assert "plain is '0.01', the ledger expects '0.001'" in said


@pytest.mark.parametrize(
    ('changes', 'problem'),
    [
        (dict(), None),
        (dict(code=[512, 512]), 'differs from paper or released code without a reason (why)'),
        (dict(code=[512, 512], why='ours is larger'), None),
        (dict(paper=[512, 512], paper_source='config'), 'without a reason'),
        (dict(code=None, source=None), 'neither paper nor released code is known'),
        (dict(ours=[500, 500]), "plain is '513, 513', the ledger expects '500, 500'"),
        (dict(source=None), "'source' must stand with the value that it is the source of"),
        (dict(source='confg'), "source 'confg' is not listed"),
        (dict(source='confg'), "no row names the source 'config'"),
        # only one profile has the constant
        (dict(ours=None, plain=[513, 513]), None),
        (dict(key=None, ours='as the code', code='as the code'), None),
    ],
)
def test_what_a_row_must_hold(changes, problem, tmp_path):
    found = read(tmp_path, **changes)
    if problem is None:
        assert not found.problems
    else:
        assert any(problem in sentence for sentence in found.problems), found.problems


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        (dict(wyh='no'), "ddfp.yaml, VOC, Crop: field 'wyh' is unknown; a row has absent, code, "),
        (dict(constant=None), "field 'constant' is missing"),
        (dict(key='model.student.backbne.depth'), "because 'model.student' has no 'backbne'"),
        (dict(key='model.objectives[CCTObjective].eps'), "has no 'CCTObjective'; correct the key"),
        (dict(key='model..student'), "'model..student' is no key"),
        (
            dict(key='model.mixing.aspect.low'),
            "because 'model.mixing.aspect' is None; end it with ?",
        ),
    ],
)
def test_a_file_that_cannot_be_read(changes, sentence, tmp_path):
    with pytest.raises(SetupError) as refused:
        read(tmp_path, **changes)
    assert sentence in str(refused.value)


def test_where_a_value_stands():
    cfg = shipped(ROOT / 'configs/dgcl/reference/cityscapes_372.py')._cfg_dict
    assert find_value(cfg, 'model.objectives[DGCLObjective].anchors') == 200
    # defaults of constructors: its own, an inherited one, a schedule's, that of a part without a type
    assert find_value(cfg, 'model.objectives[DGCLObjective].scales') == (8, 16, 32)
    assert find_value(cfg, 'model.student.decode_head.low_channels') == 48
    assert find_value(cfg, 'model.student.backbone.avg_down') is False
    assert find_value(cfg, 'model.objectives[1].weight.milestones') == [10]
    assert find_value(cfg, 'model.teacher.rows') == 'labeled+weak'
    plain = shipped(ROOT / 'configs/unimatch/voc_732.py')._cfg_dict
    assert find_value(plain, 'model.teacher.buffers') == 'copy'
    # what may be missing
    pipeline = 'train_dataloader.dataset.unlabeled.pipeline'
    assert find_value(cfg, f'{pipeline}[MultiBranch].strong?[PILGrayscale].prob') is None
    assert find_value(cfg, f'{pipeline}[RandomRotate]?.prob') is None
    assert find_value(cfg, 'model.student.auxiliary_head?.loss_decode.loss_weight') == 0.4
    # several values, and a module's
    assert find_value(cfg, 'train_cfg.max_iters / model.iters_per_epoch') == 200
    assert find_value(cfg, '1 - default_hooks.teacher.momentum') == pytest.approx(0.999)
    assert find_value(cfg, 'gpus * 2') == 16
    assert find_value(cfg, 'mmseg_semi.methods.ddfp.flow:SCALE_SLOPE') == 0.636
    assert find_value(cfg, 'mmseg_semi.methods.mllc.graphs:GraphRound.top_k') == 20


@pytest.mark.parametrize(
    ('value', 'shown'),
    [(True, 'yes'), (0.1 + 0.2, '0.3'), (2.5e-4, '0.00025'), (30.0, '30'), (1e-12, '1e-12')],
)
def test_how_a_value_is_written(value, shown):
    assert show(value) == shown


def test_lists_and_mappings():
    assert show([4, 4], ' + ') == '4 + 4' and show(()) == 'none'
    assert show({0: 50_000}) == '0: 50,000' and show('mean') == 'mean'


def test_the_command(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reproduction, 'reproduction', lambda: text)
    page = tmp_path / 'page.md'
    check = ['--check', '--out', str(page)]
    with pytest.raises(SystemExit) as end:
        reproduction.main(check)
    assert end.value.code == 2 and not page.exists()
    assert 'run python tools/reproduction.py' in capsys.readouterr().err
    reproduction.main(['--out', str(page)])
    assert page.read_text() == text
    reproduction.main(check)
    assert capsys.readouterr().out.endswith('page.md is up to date\n')
    # an installed wheel has no docs/
    monkeypatch.setattr(reproduction, 'OUT', tmp_path / 'docs/reproduction.md')
    with pytest.raises(SystemExit):
        reproduction.main([])
    assert 'give --out FILE' in capsys.readouterr().err


def test_the_loader_of_trainings_reads_the_same():
    name = ROOT / 'configs/dgcl/reference/cityscapes_372.py'
    assert reproduction._load(name)._cfg_dict == shipped(name)._cfg_dict
