"""The tables and sections of a report show the values that were measured."""

import base64
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_runs import CLASS, IMAGE

from mmseg_semi.cli import main
from mmseg_semi.runtime.report import make_page, read_run, tables
from mmseg_semi.runtime.report.collect import Run

MATRIX = [[75, 25, 0, 0], [10, 10, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def small(name: str = 'mine', **data) -> Run:
    """A run of four classes; two are in the validation set, one is neither there nor predicted."""
    matrix = np.array(MATRIX)
    matrix[0, 2] = 5
    content = dict(
        iter=200,
        predicting='teacher',
        classes=['road', 'pole', 'sign', 'tram'],
        palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]],
        images=7,
        matrix=dict(teacher=matrix.tolist(), student=MATRIX),
        shows=[7, 2, 0, 0],
        labels=dict(images=9, counted=3, pixels=[30, 10, 0, 0], shows=[3, 1, 0, 0]),
        validations=[
            dict(
                iter=200,
                iou=dict(teacher=[65.217, 22.222, 0.0, None], student=[68.18, 22.22, None, None]),
            )
        ],
    )
    history = [
        {'iter': 100, 'teacher/mIoU': 31.0, 'student/mIoU': 20.0},
        {'iter': 200, 'teacher/mIoU': 29.15, 'student/mIoU': 45.2, 'teacher/aAcc': 68.0},
    ]
    return Run(Path('/runs') / name, history=history, data={**content, **data})


def rows(markup: str, number: int = 0) -> list[list[str]]:
    """Cells of a table, as text."""
    table = re.findall(r'<table.*?</table>', markup, re.DOTALL)[number]
    lines = re.split(r'<tr[^>]*>', table)[1:]
    cells = [re.split(r'<t[hd][^>]*>', line)[1:] for line in lines]
    return [
        [html.unescape(re.sub(r'<[^>]*>', '', cell)).strip() for cell in line] for line in cells
    ]


def test_class_table():
    header, *lines = rows(tables.class_table(small()))
    assert header[:5] == ['class', 'teacher', 'student', 'validation pixels', 'images']
    assert header[5:] == ['label pixels', 'labelled images']
    assert lines[0] == ['road', '65.22', '68.18', '105 (84.00 %)', '7', '30 (75.00 %)', '3']
    assert lines[2] == ['sign', '0.00', '-', '0 (0)', '0', '0 (0)', '0']
    assert lines[3][:3] == ['tram', '-', '-']
    assert lines[4] == ['mean', '29.15', '45.20', '125', '7', '40', '9']
    note = tables.class_table(small())
    assert 'over 2 and 3 of 4 classes' in note and 'counted in 3 of 9 labelled images' in note


def test_class_table_beside_another_run():
    markup = tables.class_table(
        small(), [small('other', predicting='student'), small('few', classes=['a'])]
    )
    assert rows(markup)[0][:5] == ['class', 'teacher', 'student', 'runs/other', 'validation pixels']
    assert rows(markup)[1][3] == '68.18'


def test_confusion_matrix():
    markup = tables.confusion_table(small())
    assert 'prediction of the teacher' in markup
    header, *lines = rows(markup)
    assert header[1:] == ['road', 'pole', 'sign', 'tram']
    assert lines[0] == ['road', '71', '24', '5', ''] and lines[1] == ['pole', '50', '50', '', '']
    assert lines[3] == ['tram', '', '', '', '']
    header, *pairs = rows(markup, 1)
    assert pairs == [
        ['road → pole', '20.00 %', '23.81 %'],
        ['pole → road', '8.00 %', '50.00 %'],
        ['road → sign', '4.00 %', '4.76 %'],
    ]


def test_of_many_classes_those_with_the_most_mistakes_are_shown():
    matrix = np.diag(np.full(40, 100))
    matrix[39, 38] = 7
    data = dict(matrix=dict(teacher=matrix.tolist()), classes=[f'c{i}' for i in range(40)])
    markup = tables.confusion_table(small(**data))
    header, *lines = rows(markup)
    assert len(header) - 1 == len(lines) == 30 and header[-2:] == ['c38', 'c39']
    assert '30 of 40 classes' in markup


def test_scores():
    header, *lines = rows(tables.score_table([small()]))
    assert header == ['network', 'mIoU', 'aAcc', 'at iteration', 'best mIoU', 'at iteration']
    assert lines[0] == ['teacher (predicts)', '29.15', '68.00', '200', '31.00', '100']
    assert lines[1] == ['student', '45.20', '-', '200', '45.20', '200']
    tiles = html.unescape(re.sub('<[^>]*>', ' ', tables.score_tiles(small(), [small('other')])))
    assert re.search(
        r'teacher · predicts\s+29\.15\s+mIoU at iteration 200\s+best 31\.00 at 100', tiles
    )
    assert re.search(r'against runs/other\s+\+0\.00', tiles)


def test_class_shares():
    shares = [
        dict(pseudo=[0, 0, 0, 0], labelled=[1, 1, 0, 0]),
        dict(pseudo=[90, 10, 0, 0], labelled=[3, 1, 0, 0]),
        dict(pseudo=[140, 10, 0, 50], labelled=[60, 20, 20, 0]),
    ]
    validations = [dict(iter=i, shares=one) for i, one in enumerate(shares)]
    _, *lines = rows(tables.share_table(small(validations=validations)))
    assert lines[0] == ['road', '60.00 %', '50.00 %', '0.83', '']
    assert lines[1] == ['pole', '20.00 %', '0', '0.00', '']
    assert lines[3] == ['tram', '0', '50.00 %', '-', '']
    past = [row['past'] for row in tables.share_rows(small(validations=validations))]
    assert past[0] == [0.9, 0.5]


def test_findings_of_the_data():
    run = small()
    assert 'mmseg-semi check-dataset' in tables.finding_list(run)
    case = dict(files=['<a>.png'], text='truncated')
    finding = dict(level='error', source='labeled', what='unreadable', count=5, cases=[case] * 5)
    run.check = dict(checked='x', errors=1, findings=[finding])
    markup = tables.finding_list(run)
    assert 'labeled: unreadable: 5' in markup and markup.count('&lt;a&gt;.png: truncated') == 3
    assert 'and 2 more in check/report.json' in markup
    run.check = dict(checked='x', errors=0, findings=[])
    assert 'No findings' in tables.finding_list(run)


def test_a_page_without_the_hook_has_scores_curves_and_config():
    run = Run(Path('/runs/old'), dict(loss=[(1, 2.0), (2, 1.0)]), small().history, config='a < b')
    page = make_page(run)
    titles = re.findall('<h2>(.*?)</h2>', page)
    assert titles == [
        'What could be done next',
        'Scores',
        'Curves',
        'Pseudo-labels',
        'Data',
        'Configuration',
    ]
    assert 'without ReportHook' in page and '<pre>a &lt; b</pre>' in page
    assert 'no validation yet' in make_page(Run(Path('/runs/new'), dict(loss=[(1, 2.0)])))


# -- of a whole run ------------------------------------------------------------------------------


def test_the_hook_s_page_has_every_section(finished):
    titles = re.findall('<h2>(.*?)</h2>', finished.page)
    assert titles == [
        *(
            'What could be done next',
            'Scores',
            'Curves',
            'Classes',
            'Confusions',
            'Validation images',
        ),
        *('Pseudo-labels', 'Data', 'Configuration'),
    ]
    charts = re.findall('<h3>(.*?)</h3>(?:<span|<svg)', finished.page)
    assert charts == [
        *(
            'Validation mIoU',
            'Sum of the losses',
            'Losses',
            'Accuracy on labelled training crops (%)',
        ),
        *('Learning rate', 'Confident share of the pixels', 'Agreement of the student with them'),
        'Accuracy of the teacher on labelled crops',
    ]
    assert 'SelfTrainingObjective' in finished.page  # the config


def test_nothing_is_markup_that_was_a_name(finished):
    page = finished.page
    assert CLASS not in page and IMAGE not in page
    assert html.escape(CLASS) in page and html.escape(f'{IMAGE}.png') in page
    assert not re.search(r'<script|onerror=(?!alert\(1\)&gt;)|onclick=(?!&#x27;)', page)
    assert not re.findall(r'(?:src|href)="(?!data:image/)', page)


def test_pictures_are_those_of_the_image(finished):
    (case,) = (c for c in finished.data['best'] + finished.data['worst'] if IMAGE in c['name'])
    assert case['image'] in finished.page
    pictures = {
        kind: np.asarray(Image.open(io.BytesIO(base64.b64decode(case[kind].partition(',')[2]))))
        for kind in ('image', 'truth', 'prediction')
    }
    root = finished.folder.parent / 'data'
    image = np.asarray(Image.open(root / f'images/val/{IMAGE}.png')).astype(float)
    assert (
        np.abs(pictures['image'] - image).mean() < 20
    )  # JPEG of noise; swapped channels: above 40
    assert np.abs(pictures['image'][..., ::-1] - image).mean() > 40
    mask = np.asarray(Image.open(root / f'labels/val/{IMAGE}.png'))
    palette = np.array(finished.data['palette'])
    known = mask != 255
    assert (pictures['truth'][known] == palette[mask[known]]).all()
    assert pictures['prediction'].shape == pictures['truth'].shape


def test_the_command_makes_the_page_anew(finished, tmp_path, capsys):
    out = tmp_path / 'new.html'
    assert not main(['report', str(finished.folder), '--out', str(out)])
    said = capsys.readouterr().out
    assert said.endswith(f'report: {out}\n') and 'Raise model.pseudo_label.threshold' in said
    written = re.compile(r'written [\d :-]+')
    assert written.sub('', out.read_text()) == written.sub('', finished.page)


def test_the_command_beside_a_supervised_run(finished, tmp_path, capsys):
    other = tmp_path / 'supervised'
    (other / '1/vis_data').mkdir(parents=True)
    lines = [{'loss': 1.0, 'sup.decode.loss_ce': 1.0, 'iter': 5}, {'student/mIoU': 99.0, 'step': 8}]
    log = other / '1/vis_data/scalars.json'
    log.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    out = tmp_path / 'both.html'
    main(['report', str(finished.folder), '--beside', str(other), '--out', str(out)])
    assert 'Use the supervised run' in capsys.readouterr().out
    page = out.read_text()
    assert f'against {read_run(other).name}' in page and f'{read_run(other).name}: student' in page


def test_mistakes_of_the_user_are_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(['report', str(tmp_path)])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: '{tmp_path}' holds no training")
