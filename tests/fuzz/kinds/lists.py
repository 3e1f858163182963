"""Mistakes in lists of images, in the names of splits, and in their manifests."""

import json

from mmseg_semi.preparing.split_lists import write_split

from ..grammar import Case, kind
from ..ground import listed

AREA = 'lists'
LABELED = [f'train{i:02d}' for i in range(4)]
UNLABELED = [f'train{i:02d}' for i in range(4, 10)]


def rewrite(case: Case, which: str, names: list[str], end: str = '\n') -> str:
    case.texts[f'data/{which}.txt'] = ''.join(f'{name}{end}' for name in names)
    return f'data/{which}.txt'


def either(case: Case) -> tuple[str, list[str]]:
    """One of the two lists, to be changed."""
    which, names = case.pick(('labeled', LABELED), ('unlabeled', UNLABELED))
    return which, list(names)


@kind(AREA, listed, times=2)
def list_without_a_name(case: Case):
    which, _ = either(case)
    case.texts[f'data/{which}.txt'] = ('', '\n \n\n')[case.turn]
    return f'data/{which}.txt', 'is empty', 'splits make'


@kind(AREA, listed)
def line_without_a_name(case: Case):
    which, names = either(case)
    place = case.number(1, len(names))
    names.insert(place, '')
    return rewrite(case, which, names), f'line {place + 1}', 'remove the line'


@kind(AREA, listed)
def name_twice(case: Case):
    which, names = either(case)
    name = case.pick(*names[1:])
    return rewrite(case, which, [name, *names]), name, 'more than once'


@kind(AREA, listed, times=2)
def name_of_no_image(case: Case):
    which, names = either(case)
    place = case.number(0, len(names))
    names[place] = (case.misspell(names[place]), f'{names[place]}.png')[case.turn]
    return rewrite(case, which, names), names[place], 'does not exist', '1 of'


@kind(AREA, listed)
def image_and_mask_on_each_line(case: Case):
    """The format of MMSegmentation 0.x and of the published lists."""
    names = [f'images/train/{name}.png labels/train/{name}.png' for name in LABELED]
    return rewrite(case, 'labeled', names), 'labels/train/train00.png', 'splits import'


@kind(AREA, listed, times=3)
def bytes_of_another_encoding(case: Case):
    which, names = either(case)
    text = ''.join(f'{name}\n' for name in names)
    case.texts[f'data/{which}.txt'] = [
        text.encode('utf-16'),
        text.replace('train', 'über', 1).encode('latin-1'),
        text.encode('utf-8-sig'),
    ][case.turn]
    return f'data/{which}.txt', 'UTF-8'


@kind(AREA, listed)
def labelled_image_among_the_unlabelled(case: Case):
    name = case.pick(*LABELED)
    rewrite(case, 'unlabeled', [*UNLABELED, name])
    return f'{name}.png', 'labeled', '1 of 7', 'remove it'


@kind(AREA, listed, times=2)
def list_that_is_none(case: Case):
    which, _ = either(case)
    case.file(f'data/{which}.txt').unlink()
    if case.turn:
        case.file(f'data/{which}.txt').mkdir()
    return f'{which}.ann_file', f'data/{which}.txt', ('does not exist', 'folder')[case.turn]


def named_split(case: Case) -> None:
    """The lists as a split with a manifest, which the config names."""
    write_split(case.file('mine'), LABELED, UNLABELED, dict(protocol='mine 4'))
    case.set('train_dataloader.dataset.split', 'mine')
    for part in ('labeled', 'unlabeled'):
        case.remove(f'train_dataloader.dataset.{part}.ann_file')


@kind(AREA, listed)
def split_that_is_none(case: Case):
    named_split(case)
    wrong = case.misspell('voc classic 732')
    case.set('train_dataloader.dataset.split', wrong)
    return 'split', repr(wrong), "'voc classic 732'"


@kind(AREA, listed)
def split_as_a_number(case: Case):
    named_split(case)
    case.set('train_dataloader.dataset.split', 732)
    return 'split', '732', 'expected'


@kind(AREA, listed)
def list_that_its_manifest_does_not_know(case: Case):
    named_split(case)
    case.texts['mine/labeled.txt'] = ''.join(f'{name}\n' for name in LABELED[:3])
    return 'mine/manifest.json', '4 names', '3 names'


@kind(AREA, listed, times=3)
def manifest_that_is_none(case: Case):
    named_split(case)
    whole = json.loads(case.file('mine/manifest.json').read_text())
    case.texts['mine/manifest.json'] = [
        json.dumps(whole)[:40],
        json.dumps(whole | dict(labeled=[4])),
        json.dumps(whole | dict(protocol=4)),
    ][case.turn]
    return 'mine/manifest.json', 'no manifest'


@kind(AREA, listed)
def protocol_that_is_none(case: Case):
    wrong = case.misspell('voc classic 732')
    case.set('train_dataloader.dataset.protocol', wrong)
    return 'protocol', repr(wrong), "'voc classic 732'"
