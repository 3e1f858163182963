"""Mistakes in the folders that a data file names, and in the names of their files."""

import os
import shutil

from ..grammar import Case, kind
from ..ground import own, save, scene

AREA = 'folders'


def entry(case: Case, part: str, text: str) -> str:
    """Give a part of the data file another folder; returns the part's key."""
    if part == 'unlabeled':
        case.data['unlabeled'] = [text]
        return part
    case.data['labeled'][part] = text
    return f'labeled.{part}'


@kind(AREA, own, times=3)
def folder_that_is_not_there(case: Case):
    part = ('images', 'masks', 'unlabeled')[case.turn]
    wrong = case.misspell({'images': 'photos', 'masks': 'masks', 'unlabeled': 'more'}[part])
    return 'data.yaml', entry(case, part, wrong), repr(wrong), 'does not exist', 'fix the path'


@kind(AREA, own, times=2)
def folder_that_is_a_file(case: Case):
    part = case.pick('images', 'masks', 'unlabeled')
    wrong = ('photos/a0.png', 'notes.txt')[case.turn]
    case.texts['notes.txt'] = 'photos\n'
    return 'data.yaml', entry(case, part, wrong), repr(wrong), 'is a file'


@kind(AREA, own, times=2)
def folder_with_an_impossible_name(case: Case):
    wrong = ('photos\0', 'p' * 300)[case.turn]
    return (
        'data.yaml',
        entry(case, case.pick('images', 'unlabeled'), wrong),
        ('\\x00', 'ppp')[case.turn],
    )


@kind(AREA, own)
def folder_as_a_number(case: Case):
    return 'data.yaml', entry(case, case.pick('images', 'masks'), 2024), '2024', 'expected a folder'


@kind(AREA, own, times=2)
def folder_without_an_image(case: Case):
    part, folder = case.pick(('images', 'photos'), ('masks', 'masks'), ('unlabeled', 'more'))
    shutil.rmtree(case.file(folder))
    case.file(folder).mkdir()
    if case.turn:
        case.texts[f'{folder}/readme.txt'] = 'The images are on the other disk.\n'
    found = ('nothing', '1 x .txt')[case.turn]
    return 'data.yaml', f'{"labeled." * (part != "unlabeled")}{part}', 'holds no image', found


@kind(AREA, own, times=2)
def image_without_mask(case: Case):
    name = f'a{case.number(0, 6)}'
    case.file(f'masks/{name}.png').rename(
        case.file(f'masks/{name}{("_mask", "-1")[case.turn]}.png')
    )
    return 'data.yaml', f'{name}.png', 'have no mask', 'mask_suffix'


@kind(AREA, own)
def mask_suffix_that_no_mask_has(case: Case):
    case.data['labeled']['mask_suffix'] = '_label'
    return 'data.yaml', '_label', 'labeled.mask_suffix'


@kind(AREA, own)
def one_folder_for_images_and_masks(case: Case):
    case.data['labeled']['masks'] = 'photos'
    return 'data.yaml', 'labeled.masks', 'one folder', 'mask_suffix'


@kind(AREA, own)
def images_and_masks_in_each_others_place(case: Case):
    case.data['labeled'] = dict(images='masks', masks='photos')
    return 'labeled.images', 'labeled.masks', 'exchange'


@kind(AREA, own)
def two_images_of_one_name(case: Case):
    name = f'a{case.number(0, 6)}'
    save(scene(50)[0], case.file(f'photos/{name}.bmp'))
    return 'data.yaml', f'{name}.png', f'{name}.bmp', 'one file a name'


@kind(AREA, own, times=2)
def name_that_is_no_utf8(case: Case):
    folder = ('photos', 'more')[case.turn]
    old = sorted(case.file(folder).iterdir())[case.number(0, 4)]
    os.rename(old, os.fsencode(case.file(folder)) + b'/caf\xe9.png')
    if not case.turn:
        os.rename(case.file('masks', old.name), os.fsencode(case.file('masks')) + b'/caf\xe9.png')
    return 'data.yaml', r'caf\xe9.png', 'rename'


@kind(AREA, own, times=2)
def links_in_a_circle(case: Case):
    folder = ('more', 'photos')[case.turn]
    for name in (
        'again',
        'once_more',
    ):  # one would end after 40 rounds, two after 2 to the power of 40
        case.file(folder, name).symlink_to('.', target_is_directory=True)
    return 'data.yaml', f'{folder}/again', 'remove the link'


@kind(AREA, own)
def link_to_nowhere(case: Case):
    name = f'b{case.number(0, 4)}.png'
    case.file('more', name).unlink()
    case.file('more', name).symlink_to('/nowhere/b.png')
    return f'more/{name}', '/nowhere/b.png', 'does not exist'


@kind(AREA, own)
def pipe_among_images(case: Case):
    os.mkfifo(case.file('more/camera.png'))
    return 'more/camera.png', 'a pipe', 'remove'


@kind(AREA, own)
def unlabelled_folder_within_another_one(case: Case):
    save(scene(60)[0], case.file('more/day2/c0.png'))
    case.data['unlabeled'] = ['more', 'more/day2']
    return 'data.yaml', 'more/day2', 'unlabeled'


@kind(AREA, own)
def unlabelled_folder_of_masks(case: Case):
    case.data['unlabeled'] = ['masks']
    return 'data.yaml', "'unlabeled'", 'mask'
