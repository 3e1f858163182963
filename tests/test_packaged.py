"""Configs by their names in this package: for commands, and as bases of any config."""

from pathlib import Path

import pytest
from miniatures import ROOT
from mmengine import hub
from mmengine.config import Config

from mmseg_semi.cli.analysis.compare import name_of
from mmseg_semi.cli.analysis.study import read_study
from mmseg_semi.data.splits import find_split
from mmseg_semi.errors import SetupError
from mmseg_semi.packaged import find_config
from mmseg_semi.runtime import configs


@pytest.mark.parametrize('ending', ['', '.py'])
def test_a_name_is_a_file_of_this_checkout(ending):
    found = find_config(f'mmseg_semi::supervised/camvid_12{ending}')
    assert found == ROOT / 'configs/supervised/camvid_12.py'


def test_a_path_stays_as_it_is():
    assert find_config('configs/supervised/camvid_12.py') == Path('configs/supervised/camvid_12.py')
    assert find_config(Path('gone.py')) == Path('gone.py')


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('ddfp/camvid_12_smal', r'mean mmseg_semi::ddfp/camvid_12_small\.py or mmseg_semi::'),
        ('sunrgbd_1500_r50.py', r'mean mmseg_semi::\w+/sunrgbd_1500_r50\.py or '),
        ('', r'configs in the folders augseg, cct, '),
    ],
)
def test_a_wrong_name_is_one_sentence(name, sentence):
    with pytest.raises(SetupError, match=sentence) as info:
        configs.load_config(f'mmseg_semi::{name}')
    assert str(info.value).startswith(f"config 'mmseg_semi::{name}' does not exist; ")


def test_a_base_by_name_is_the_same_as_by_path(tmp_path):
    bases = dict(
        name='mmseg_semi::cps/camvid_12_lite0', path=f'{ROOT}/configs/cps/camvid_12_lite0.py'
    )
    for name, base in bases.items():
        (tmp_path / f'{name}.py').write_text(f"_base_ = ['{base}']\nwork_dir = 'mine'\n")
    by_name, by_path = (Config.fromfile(tmp_path / f'{n}.py').to_dict() for n in ('name', 'path'))
    assert by_name == by_path and by_name['model']['type'] == 'SemiSegmentor'
    (tmp_path / 'wrong.py').write_text("_base_ = 'mmseg_semi::cps/camvid_13_lite0.py'")
    with pytest.raises(SetupError, match=r'mean mmseg_semi::cps/camvid_12_lite0\.py'):
        Config.fromfile(tmp_path / 'wrong.py')


def test_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = configs.load_config('mmseg_semi::supervised/camvid_clips_12_lite0.py')
    configs.set_work_dir(cfg, None, 'mmseg_semi::supervised/camvid_clips_12_lite0.py')
    assert cfg.work_dir == 'work_dirs/supervised/camvid_clips_12_lite0'
    ann_file = Path(cfg.val_dataloader.dataset.ann_file)
    assert ann_file == ROOT / 'configs/splits/camvid_clips/eval.txt' and ann_file.is_file()
    labeled, unlabeled = find_split(cfg.train_dataloader.dataset.split)
    assert labeled.parent == ROOT / 'configs/splits/camvid_clips/12/seed0'
    assert name_of('mmseg_semi::ddfp/camvid_12') == name_of('configs/ddfp/camvid_12.py')
    study = read_study('mmseg_semi::studies/camvid_clips_12.py')
    assert {run.config.partition('::')[0] for run in study.runs} == {'mmseg_semi'}
    assert not [run.config for run in study.runs if not find_config(run.config).is_file()]


def test_mmengine_installs_nothing(monkeypatch):
    started = []
    monkeypatch.setattr('subprocess.check_call', started.append)
    monkeypatch.setattr('mmengine.utils.package_utils.call_command', started.append)
    for config in ('mmrotate::any/config.py', 'mmyolo::any/config.py'):
        with pytest.raises(SetupError, match=r"package 'mm\w+', which is not installed"):
            hub.get_config(config)
    assert hub.get_config('mmseg::_base_/models/fcn_r50-d8.py').model.type == 'EncoderDecoder'
    assert not started
