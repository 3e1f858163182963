"""Every command of every page is run, or stands in ``reader.NOT_RUN`` with the reason.

A command is run as it stands on the page, but for the two tables of tests/reader.py: names that stand for the reader's own, and what
is made small. Configs are made small when they are read (tests/shortened.py).
"""

import re
import sys
from pathlib import Path

import pytest
from documented import PAGES, commands_of, expand
from preparations import PREPARED
from reader import NOT_RUN, PLACEHOLDERS, SHORTER, Reader, make_source, reason
from shortened import shortened

# page -> the test that runs it, and what that test runs of it
ELSEWHERE = {
    'docs/annotation_tools_more.md': ('test_more_annotation_tools', 'mmseg-semi init '),
    'docs/custom_data.md': ('test_custom_data', '(python tools/|mmseg-semi )'),
    'docs/predicting.md': ('test_predicting_page', 'mmseg-semi '),
}
HERE = [page for page in PAGES if commands_of(page) and page not in ELSEWHERE]
# what a page says will be there
OUTCOMES = {
    'README.md': [
        'project/predictions/overlays/*',
        'work_dirs/quickstart/sheet.png',
        'data/camvid/labels/train/*.png',
        'work_dirs/ddfp/camvid_46_small/camvid_46_small_*-*.pth',
        'work_dirs/ddfp/voc_732/iter_49200.pth',
    ],
    'docs/annotation_tools.md': ['leaves/work_dirs/*/report.html', 'project_masks/config.py'],
    'docs/data.md': [
        'data/VOCdevkit/VOC2012/SegmentationClassAug/*.png',
        'data/sunrgbd/labels/train/*.png',
        'data/splits/unimatch/coco/925/labeled.txt',
    ],
    'docs/deployment.md': ['voc_732.onnx'],
    'docs/installation.md': ['OUT.pth'],
    'docs/looking_at_data.md': ['work_dirs/quickstart/fixmatch/check/index.html'],
    'docs/monitoring.md': [
        'work_dirs/dgcl/camvid_46_small/features/density.png',
        'work_dirs/qs/fixmatch/report.html',
    ],
    'docs/performance.md': ['gpu.json', 'toy.json'],
    'docs/pools.md': ['reader/disk1/pool/shard-000000.tar', 'reader/disk2/other_pool/*'],
    'docs/results.md': [
        'work_dirs/camvid_clips_12/table.md',
        'work_dirs/compare/mllc/table.md',
        'data/own/data.yaml',
        'predictions/masks/*',
    ],
    'docs/robustness.md': [
        'rows.json',
        'crash.json',
        'long.json',
        'reader/mnt/small/run/iter_*.pth',
    ],
    'docs/splits.md': [
        'data/splits/mine/46/unlabeled.txt',
        'work_dirs/fixmatch/camvid_clips_12_lite0/pool_iter_600.json',
    ],
    'mmseg_semi/methods/stpp/README.md': ['work_dirs/stpp/st/all/iter_600.pth'],
    'projects/weak_labels/README.md': ['data/weak_labels/voc/masks/*.png'],
}


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('source')
    make_source(folder)
    return folder


@pytest.mark.parametrize('page', HERE)
def test_the_commands_of_a_page(page, source, tmp_path, monkeypatch):
    if page == 'docs/deployment.md':
        for name in ('onnx', 'onnxruntime', 'onnxscript'):
            pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['mmseg-semi'])
    monkeypatch.setattr('sys.path', [*sys.path])
    with shortened(source):
        reader = Reader(tmp_path, source)
        PREPARED.get(page, lambda reader: None)(reader)
        reader.play(page)
    for outcome in OUTCOMES.get(page, []):
        assert any(tmp_path.glob(outcome)), f'{page}: there is no {outcome}'


def test_bash_reads_the_blocks():
    text = (
        '```bash\nA=1 tools/dist_train.sh x.py 4 \\\n  --amp  # why\nfor m in a b; do\n  python "$m c" {1,2}\ndone\n```\n'
        "```python\nprint()\n```\n```bash\ncd ~/x && pip install 'y[z]'\n```\n"
    )
    assert expand(text) == [
        (('tools/dist_train.sh', 'x.py', '4', '--amp'), ('A=1',), 0),
        (('python', 'a c', '1', '2'), (), 0),
        (('python', 'b c', '1', '2'), (), 0),
        (('cd', '~/x'), (), 1),
        (('pip', 'install', 'y[z]'), (), 1),
    ]
    with pytest.raises(AssertionError, match='syntax error'):
        expand('```bash\nfor m in a; do\n```\n')


def test_every_command_is_run_or_has_a_reason():
    """Bash itself reads the blocks, so that no line is overlooked; the reader runs all that have no reason."""
    for page, (module, run) in ELSEWHERE.items():
        assert (Path(__file__).parents[1] / f'{module}.py').is_file()
        left = [command for command in commands_of(page) if not re.match(run, str(command))]
        assert not [str(command) for command in left if reason(command) is None], page
    assert not (OUTCOMES.keys() | PREPARED.keys()) - set(HERE)


def test_no_table_has_an_entry_that_no_page_needs():
    said = [str(command) for page in PAGES for command in commands_of(page)]
    for form in NOT_RUN:
        assert any(re.match(form, line) for line in said), f'NOT_RUN: {form}'
    lines = [line for line in said if not any(re.match(form, line) for form in NOT_RUN)]
    for form in PLACEHOLDERS | SHORTER:
        assert any(re.search(form, line) for line in lines), form
