import json
from pathlib import Path

import numpy as np
import pytest
from miniatures import CLASSES, load_tool, write_image, write_mask
from mmengine.config import Config
from PIL import Image

from mmseg_semi.data import splits
from mmseg_semi.errors import SetupError
from mmseg_semi.preparing import made_splits, split_lists, split_reports


@pytest.fixture
def drawn(tree) -> Path:
    """2 labelled images of the tree's 10, drawn with a manifest."""
    made_splits.make_split(tree.root / 'images', 2, 0, tree.root / 'lists')
    return tree.root / 'lists'


def problems(folder: Path, **known) -> list[str]:
    return split_reports.check(split_reports.of_folder(folder, **known)).problems


def rewrite(path: Path, change) -> list[str]:
    names = change(path.read_text().split())
    path.write_text('\n'.join(names))
    return names


# -------------------------------------------------------------------------------------------- check


def test_a_sound_split_has_no_problem(tree, drawn):
    val = tree.root / 'val'
    for i in range(3):
        write_image(val / f'a{i}.png', 90 + i)  # other pictures, the names of training images
    found = split_reports.check(split_reports.of_folder(drawn, tree.root / 'images', val=val))
    assert not found.problems and not found.skipped
    assert found.passed == [
        "the lists are 'own 2 seed 0'",
        'no image is a duplicate or in two of the lists',
        'the lists hold all 10 training images',
        'no two of 13 images have the same content',
    ]


def test_skipped_checks_are_listed(drawn):
    found = split_reports.check(split_reports.of_folder(drawn))
    assert [text.split(',')[0] for text in found.skipped] == [
        'validation images',
        'contents of images',
    ]
    (drawn / 'manifest.json').unlink()
    found = split_reports.check(split_reports.of_folder(drawn))
    assert len(found.skipped) == 3 and not found.problems


def test_changed_lists_are_reported_with_both_hashes(drawn):
    expected = splits.summarize(splits.read_names(drawn / 'labeled.txt'))['sha256']
    names = rewrite(drawn / 'labeled.txt', lambda names: [*names[1:], 'zz'])
    wrong, incomplete = problems(drawn)
    assert expected in wrong and splits.hash_names(names) in wrong
    assert incomplete == 'the lists together are not the 10 images they were drawn from'


def test_overlap_duplicates_and_leaks_are_found(tree, drawn):
    labeled = rewrite(drawn / 'labeled.txt', lambda names: [*names, names[0]])
    rewrite(drawn / 'unlabeled.txt', lambda names: [*names, labeled[1]])
    (tree.root / 'val.txt').write_text(f'{labeled[0]}\nx\n')
    (drawn / 'manifest.json').unlink()
    assert [text.partition(', e.g.')[0] for text in problems(drawn)] == [
        '1 labelled names are repeated',
        '1 labelled images are validation images',
        '1 images are labelled and unlabelled',
    ]


def test_incomplete_lists_are_found(tree, drawn):
    (drawn / 'manifest.json').unlink()
    lost = rewrite(drawn / 'unlabeled.txt', lambda names: [*names[1:], 'nowhere'])
    assert 'nowhere' in lost
    texts = problems(drawn, images=tree.root / 'images')
    assert [text.partition(', e.g.')[0] for text in texts] == [
        '1 training images are in neither list',
        '1 names in the lists are no training image',
    ]
    # the folder may hold more than the training images
    everything = tree.root / 'all.txt'
    everything.write_text('\n'.join(splits.read_names(drawn / 'labeled.txt') + lost))
    assert not problems(drawn, images=tree.root / 'images', everything=everything)


def test_equal_contents_under_other_names_are_found(tree, drawn):
    labeled = splits.read_names(drawn / 'labeled.txt')
    unlabeled = splits.read_names(drawn / 'unlabeled.txt')
    copy = tree.image(labeled[0]).read_bytes()
    tree.image(unlabeled[3]).write_bytes(copy)
    (tree.root / 'val').mkdir()
    (tree.root / 'val/other.png').write_bytes(tree.image(unlabeled[0]).read_bytes())
    texts = problems(drawn, images=tree.root / 'images', val=tree.root / 'val')
    assert texts == [
        '1 labelled and unlabelled images have the same content under two names, e.g. '
        f'{labeled[0]} and {unlabeled[3]}',
        '1 unlabelled and validation images have the same content under two names, e.g. '
        f'{unlabeled[0]} and other',
    ]


@pytest.mark.parametrize('kind', ['labeled', 'unlabeled'])
def test_equal_contents_within_a_list_are_no_problem(tree, drawn, kind):
    """The rule of check_dataset.py: an error between the lists, a warning within one."""
    first, second = splits.read_names(drawn / f'{kind}.txt')[:2]
    tree.image(second).write_bytes(tree.image(first).read_bytes())
    found = split_reports.check(split_reports.of_folder(drawn, images=tree.root / 'images'))
    assert not found.problems
    assert found.warnings == [
        f'1 {splits.KINDS[kind]} images have the same content under two names, e.g. '
        f'{first} and {second}'
    ]
    assert f'warning: {found.warnings[0]}' in list(found.lines())
    assert run('check', drawn, '--images', tree.root / 'images') == 0


def test_files_of_one_size_but_other_bytes_differ(tmp_path):
    for name, content in (('a', b'12'), ('b', b'21'), ('c', b'12'), ('d', b'1')):
        (tmp_path / name).write_bytes(content)
    groups = split_reports.equal_files(sorted(tmp_path.iterdir()))
    assert [[path.name for path in group] for group in groups] == [['a', 'c']]


def test_a_published_overlap_is_reported_as_published(tmp_path, monkeypatch):
    labeled, unlabeled = ['a', 'b'], ['b', 'c']
    pair = dict(labeled=splits.summarize(labeled), unlabeled=splits.summarize(unlabeled))
    known = dict(
        pair, family='cps', dataset='voc', source=dict(repository='r', commit='c', folder='f')
    )
    for module in (splits, split_reports):
        monkeypatch.setattr(module, 'published_protocols', lambda: {'voc classic (cps) 2': known})
    split_lists.write_split(tmp_path, labeled, unlabeled, dict(protocol='voc classic (cps) 2'))
    found = split_reports.check(split_reports.of_folder(tmp_path))
    assert not found.problems
    assert found.published == [
        '1 images are labelled and unlabelled, e.g. b (training on it needs allow_overlap=True)'
    ]
    # the same overlap in a list of one's own is a problem
    split_lists.write_split(tmp_path, ['a', 'b'], ['b', 'd'], dict(protocol='own 2'))
    assert len(problems(tmp_path)) == 1


# ------------------------------------------------------------------------------------------- config


@pytest.fixture
def config(tree) -> Path:
    """A config of the tree's lists, with two validation images of the same names in another folder."""
    for i in range(2):
        write_image(tree.root / f'val/images/a{i}.png', 70 + i)
        write_mask(tree.root / f'val/labels/a{i}.png', 70 + i)
    prefix = dict(img_path='val/images', seg_map_path='val/labels')
    val = tree.source('labeled', data_prefix=prefix, ann_file='', pipeline=[])
    cfg = Config(
        dict(
            custom_imports=dict(imports=['mmseg_semi']),
            train_dataloader=dict(dataset=tree.dataset()),
            val_dataloader=dict(dataset=val),
        ),
        format_python_code=False,
    )
    cfg.dump(tree.root / 'config.py')
    return tree.root / 'config.py'


def run(*argv) -> int:
    try:
        return load_tool('splits').main([str(a) for a in argv])
    except SystemExit as exit_info:
        return exit_info.code


def test_check_of_a_config(tree, config, capsys):
    assert run('check', config) == 0
    assert 'problem' not in capsys.readouterr().out
    (tree.root / 'val/images/a1.png').write_bytes(tree.image('b2').read_bytes())
    assert run('check', config) == 1
    assert 'problem: 1 unlabelled and validation images' in capsys.readouterr().out


@pytest.mark.parametrize('allow_overlap', [False, True])
def test_an_overlap_that_a_config_allows(tree, config, allow_overlap, capsys):
    cfg = Config.fromfile(config)
    cfg.train_dataloader.dataset.allow_overlap = allow_overlap
    cfg.format_python_code = False
    config.write_text(cfg.pretty_text)
    tree.write_list('unlabeled', [*tree.unlabeled, 'a0'])
    tree.image('b1').write_bytes(tree.image('a1').read_bytes())
    assert run('check', config) == (0 if allow_overlap else 1)
    word = 'warning' if allow_overlap else 'problem'
    lines = [line.partition(', e.g.')[0] for line in capsys.readouterr().out.splitlines()]
    assert f'{word}: 1 images are labelled and unlabelled' in lines
    assert (
        f'{word}: 1 labelled and unlabelled images have the same content under two names' in lines
    )


def test_describe_counts_the_pixels_of_each_class(tree, config, capsys):
    for i, name in enumerate(
        tree.labeled
    ):  # 1200 pixels: i rows of class 1, a void row, else class 0
        mask = np.zeros((30, 40), np.uint8)
        mask[:i], mask[-1] = 1, 255
        Image.fromarray(mask).save(tree.mask(name))
    assert run('describe', config) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [CLASSES[0], '4,400', '94.83%', '4'] in lines
    assert [CLASSES[1], '240', '5.17%', '3'] in lines
    assert [CLASSES[2], '0', '0.00%', '0'] in lines
    assert ['ignored:', '160', 'pixels,', '3.33%', 'of', 'all'] in lines
    assert ['labelled', '4', 'images,', 'SHA-256', splits.hash_names(tree.labeled)] in lines


def test_describe_prints_the_source_of_lists(tree, drawn, capsys):
    assert run('describe', drawn, '--masks', tree.root / 'labels') == 0
    text = capsys.readouterr().out
    assert (
        'protocol    own 2 seed 0\nsource      drawn by tools/splits.py make\nseed        0' in text
    )
    assert 'unlabelled        8 images' in text and 'ignored: 8 pixels' in text
    tree.mask(splits.read_names(drawn / 'labeled.txt')[0]).unlink()
    assert run('describe', drawn, '--masks', tree.root / 'labels') == 2
    assert 'holds no mask of' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('target', 'message'),
    [('nowhere', 'holds no labeled.txt; name the folder of a split'), ('no.py', 'does not exist')],
)
def test_targets_that_do_not_exist(tree, target, message, capsys):
    assert run('check', target) == 2
    err = capsys.readouterr().err
    assert message in err and err.count('\n') == 1


def test_configs_of_other_data_sets_are_refused():
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='ADE20KDataset'))))
    with pytest.raises(SetupError, match="dataset.type is 'ADE20KDataset', expected 'SemiDataset'"):
        split_reports.of_config(cfg)


def test_a_damaged_manifest_is_named(drawn):
    (drawn / 'manifest.json').write_text(json.dumps(dict(protocol=1)))
    with pytest.raises(SetupError, match='manifest.json is no manifest of a split'):
        split_reports.of_folder(drawn)
