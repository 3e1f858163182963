"""The command that tries resuming in all combinations, which runs outside of this suite, on one of its rows."""

import json

import pytest
import resume_matrix
from mmengine.config import Config


def test_a_row(tmp_path, monkeypatch, capsys):
    """A run that goes on otherwise is told apart from one that goes on as it should."""
    monkeypatch.setattr(resume_matrix, 'ITERATIONS', 4)
    row = resume_matrix.run_row('supervised', 1, 1, (0,), tmp_path / 'sound')
    assert (row['checkpoints'], row['runs'], row['differences']) == (3, 3, [])
    assert row['losses'] == ['loss']
    train = resume_matrix.train

    def forgetful(cfg, work_dir, resume=False, **kwargs):
        if resume:
            cfg = cfg.copy()
            cfg.model.student.decode_head.dropout_ratio = 0.5
        return train(cfg, work_dir, resume=resume, **kwargs)

    monkeypatch.setattr(resume_matrix, 'train', forgetful)
    row = resume_matrix.run_row('supervised', 1, 2, (0,), tmp_path / 'forgetful')
    assert row['runs'] == 1 and len(row['differences']) == 1
    assert row['differences'][0].startswith('from2_workers0: ')


@pytest.mark.parametrize('name', resume_matrix.ROWS)
def test_every_row_has_a_config(tmp_path, name):
    cfg = resume_matrix.ROWS[name](tmp_path)
    resume_matrix.prepare(cfg, 2)
    cfg = Config.fromfile(cfg.filename)
    assert cfg.train_cfg.max_iters == 8 and cfg.train_cfg.val_interval == 4
    assert cfg.default_hooks.checkpoint.interval == cfg.optim_wrapper.accumulative_counts == 2


def test_the_command(tmp_path, monkeypatch, capsys):
    asked = []

    def run_row(name, ranks, counts, workers, folder):
        asked.append((name, ranks, counts, workers))
        differences = ['from1_workers0: momentum'] * (ranks == 2 and counts == 1)
        return dict(runs=7, losses=['loss'], differences=differences)

    monkeypatch.setattr(resume_matrix, 'run_row', run_row)
    assert resume_matrix.main(['cct', '--json', str(tmp_path / 'rows.json')]) == 1
    assert asked == [('cct', r, c, (0, 2)) for r in (1, 2) for c in (1, 2)]
    said = capsys.readouterr().out
    assert '28 runs went on, 1 of them differ' in said and 'from1_workers0: momentum' in said
    found = json.loads((tmp_path / 'rows.json').read_text())
    assert (found['runs'], found['differ'], len(found['rows'])) == (28, 1, 4)
    assert resume_matrix.main(['mllc', '--ranks', '1', '--workers', '0']) == 0
    assert asked[4:] == [('mllc', 1, c, (0,)) for c in (1, 2)]
    with pytest.raises(SystemExit):
        resume_matrix.main(['cctt'])
    assert "'cctt' is no row; there are 'supervised'" in capsys.readouterr().err
