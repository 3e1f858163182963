"""Which classes a project has, and what becomes of pixels without annotation."""

from pathlib import Path

import numpy as np
import pytest

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import AnnotatedImage, Export, Region
from mmseg_semi.preparing.projects import choose_classes

RING = np.array([(0, 0), (2, 0), (2, 2)], float)


def make(*classes: str, unmarked: str = 'background', **more) -> Export:
    regions = [Region(name, (RING,)) for name in classes]
    image = AnnotatedImage('a.png', Path('a.png'), regions=regions)
    return Export('X', Path('x.json'), [*classes], [image], '', (unmarked, 'of its habit'), **more)


def test_background_comes_first_and_is_told():
    classes = choose_classes(make('leaf', 'stone'))
    assert classes.names == ('background', 'leaf', 'stone') and classes.unmarked == 0
    assert classes.indices == dict(leaf=1, stone=2)
    assert classes.colours == ('#000000', '#800000', '#008000')
    assert classes.decision == (
        "are the class 'background', for of its habit; --unlabelled-pixels ignore changes it"
    )


def test_ignored():
    for export, given in (
        (make('leaf', 'stone'), 'ignore'),
        (make('a', 'b', unmarked='ignore'), None),
    ):
        classes = choose_classes(export, None, given)
        assert classes.names == tuple(export.classes) and classes.unmarked == 255
        assert 'ignored' in classes.decision


@pytest.mark.parametrize('name', ['background', '_background_', 'Background'])
def test_a_class_of_this_name_is_not_doubled(name):
    classes = choose_classes(make('leaf', name, 'stone'))
    assert classes.names == (name, 'leaf', 'stone')
    assert classes.indices == {name: 0, 'leaf': 1, 'stone': 2}
    ignored = choose_classes(make('leaf', name), None, 'ignore')
    assert ignored.names == ('leaf', name) and ignored.unmarked == 255


def test_chosen_renamed_merged_and_ignored():
    export = make('leaf', 'stone', 'stem', 'blur')
    classes = choose_classes(export, ['rock=stone', 'plant=leaf,stem', 'ignore=blur'])
    assert classes.names == ('background', 'rock', 'plant')
    assert classes.indices == dict(stone=1, leaf=2, stem=2, blur=255)
    classes = choose_classes(export, ['plant=leaf,stem', 'background=stone,blur'])
    assert classes.names == ('background', 'plant') and classes.indices['blur'] == 0
    classes = choose_classes(export, ['background', 'leaf', 'stone', 'stem', 'blur'], 'background')
    assert classes.names[0] == 'background' and classes.indices['leaf'] == 1


def test_finished_masks():
    values = dict(background=0, leaf=3, stone=[4, '6-9'])
    export = make('leaf', 'stone', mask_values=values, unmarked_class='background')
    assert choose_classes(export).indices == dict(background=0, leaf=1, stone=2)
    ignored = choose_classes(export, None, 'ignore')
    assert ignored.indices == dict(background=255, leaf=0, stone=1)
    plain = make('0', '1', mask_values={'0': 0, '1': 1})
    assert choose_classes(plain).names == ('0', '1')
    assert choose_classes(plain, ['sky=1', 'tree=0']).indices == {'1': 0, '0': 1}
    with pytest.raises(SetupError, match='none of 0, 1 is known as that of unmarked pixels'):
        choose_classes(plain, None, 'ignore')


def test_colours_of_the_export_and_no_two_alike():
    export = make('leaf', 'stone', 'stem', colours=dict(leaf='#008000', stem='#008000'))
    assert choose_classes(export).colours == ('#000000', '#008000', '#800000', '#808000')


MISTAKES = [
    (
        ['leaf'],
        'ignore',
        r"--classes lacks classes of x.json: stone .1 regions.; add them, .* 'ignore=stone'",
    ),
    (['leaf', 'stones'], None, "names 'stones', which x.json does not have; did you mean 'stone'"),
    (['leaf', 'x=moss'], None, "names 'moss', which x.json does not have; its classes are leaf, "),
    (['a=leaf', 'b=leaf,stone'], None, "has the class 'leaf' in 'a' and in 'b'"),
    (['leaf', 'leaf=stone'], None, "has 'leaf' twice or empty"),
    (['all=leaf,stone'], 'ignore', 'gives the one class all, and unmarked pixels are ignored'),
]


@pytest.mark.parametrize(('given', 'unmarked', 'sentence'), MISTAKES)
def test_mistakes_are_one_sentence(given, unmarked, sentence):
    with pytest.raises(SetupError, match=sentence) as caught:
        choose_classes(make('leaf', 'stone'), given, unmarked)
    assert '\n' not in str(caught.value)


def test_more_classes_than_a_mask_holds():
    names = [f'c{i}' for i in range(254)]
    assert len(choose_classes(make(*names), None, 'ignore').names) == 254
    with pytest.raises(SetupError, match='has 255 classes, but masks of 8 bits hold 254'):
        choose_classes(make(*names))
