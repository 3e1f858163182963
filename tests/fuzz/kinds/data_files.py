"""Mistakes in ``data.yaml``, which describes a user's own folders."""

import json
import math

from ..grammar import Case, kind
from ..ground import NAMES, own

AREA = 'data file'


@kind(AREA, own, times=3)
def misspelt_key(case: Case):
    key = case.pick('labeled', 'unlabeled', 'classes', 'val')
    wrong = case.misspell(key)
    case.data[wrong] = case.data.pop(key)
    return 'data.yaml', repr(wrong), repr(key)


@kind(AREA, own, times=2)
def missing_key(case: Case):
    key = ('labeled', 'classes')[case.turn]
    del case.data[key]
    return 'data.yaml', f'no {key!r}', f'add {key}:'


@kind(AREA, own, times=3)
def labelled_images_of_another_kind(case: Case):
    wrong = [
        'photos',
        dict(images='photos'),
        dict(images='photos', masks='masks', mask_sufix='_m'),
    ][case.turn]
    case.data['labeled'] = wrong
    return 'data.yaml', "'labeled'", repr(wrong), 'images: FOLDER, masks: FOLDER'


@kind(AREA, own, times=2)
def mask_suffix_of_another_kind(case: Case):
    wrong = (5, ['_mask'])[case.turn]
    case.data['labeled']['mask_suffix'] = wrong
    return 'data.yaml', 'labeled.mask_suffix', repr(wrong), '_mask'


@kind(AREA, own, times=5)
def share_of_validation(case: Case):
    wrong = (case.pick(0, 1, -0.3, 1.5), math.nan, math.inf, True, '0.2')[case.turn]
    case.data['val'] = wrong
    return 'data.yaml', "'val' is", str(wrong), 'share'


@kind(AREA, own)
def share_of_no_image(case: Case):
    case.data['val'] = 0.01
    return 'data.yaml', "'val' is 0.01", '6 labelled images'


@kind(AREA, own, times=6)
def classes_of_another_kind(case: Case):
    wrong, found = [
        ('ground', 'ground'),
        (5, '5'),
        (['ground'], 'one name'),
        (['ground', 'plant', 'ground'], '3 names, 2 of them different'),
        ([f'c{i}' for i in range(300)], '300 names'),
        ([['ground'], 'plant', 'stone'], "['ground']"),
    ][case.turn]
    case.data['classes'] = wrong
    return 'data.yaml', "'classes'", found


@kind(AREA, own, times=6)
def values_of_a_class(case: Case):
    name = case.pick(*NAMES)
    wrong = [
        case.pick(-1, 70000, 1.5),
        case.pick('20-1', '1-', 'a-b'),
        None,
        case.pick('#12345', '#00gg00'),
        [],
        {'value': 1},
    ][case.turn]
    values = dict(zip(NAMES, range(3), strict=True))
    values[name] = wrong
    case.data['classes'] = values
    found = [repr(wrong), repr(wrong), 'is empty', repr(wrong), 'empty list', repr(wrong)][
        case.turn
    ]
    return 'data.yaml', f'classes.{name}', found


@kind(AREA, own)
def value_of_two_classes(case: Case):
    case.data['classes'] = dict(ground=0, plant='1-20', stone=[2, 15])
    return 'data.yaml', 'classes.plant', 'classes.stone', 'one of them'


@kind(AREA, own)
def values_beside_colours(case: Case):
    case.data['classes'] = dict(ground=0, plant='#00ff00', stone=2)
    return 'data.yaml', 'classes.plant', '#00ff00', 'the same way'


@kind(AREA, own)
def class_names_that_yaml_takes_for_truth(case: Case):
    case.data = None
    case.texts['data.yaml'] = (
        'labeled: {images: photos, masks: masks}\nunlabeled: [more]\nval: 0.34\nclasses: [ground, no, yes]\n'
    )
    return 'data.yaml', "'classes'", 'False', 'quotes'


@kind(AREA, own, times=2)
def ignored_value(case: Case):
    wrong = ('void', 1)[case.turn]
    case.data['ignore'] = wrong
    return 'data.yaml', 'ignore', str(wrong)


@kind(AREA, own, times=3)
def palette(case: Case):
    wrong = [7, ['#000000', '#ffffff'], dict(plant='green')][case.turn]
    case.data['palette'] = wrong
    return 'data.yaml', 'palette', repr(wrong) if case.turn < 2 else "palette.plant is 'green'"


@kind(AREA, own, times=4)
def range_of_values(case: Case):
    wrong = [4095, [4095, 0], [math.nan, 4095], ['0', '4095']][case.turn]
    case.data['value_range'] = wrong
    return 'data.yaml', "'value_range'", str(wrong).replace('nan', 'nan'), '[0, 4095]'


@kind(AREA, own, times=5)
def bands(case: Case):
    wrong, found = [
        (dict(count='4'), "bands.count is '4'"),
        (dict(count=3, use=[0, 3]), 'bands.use is [0, 3]'),
        (dict(count=3, colour=[0, 1]), 'bands.colour is [0, 1]'),
        (dict(count=3), 'band-statistics'),
        (dict(number=3), "'number'"),
    ][case.turn]
    case.data['bands'] = wrong
    return 'data.yaml', 'bands', found


@kind(AREA, own, times=2)
def unlabelled_folders_of_another_kind(case: Case):
    wrong = (7, dict(images='more'))[case.turn]
    case.data['unlabeled'] = wrong
    return 'data.yaml', "'unlabeled'", repr(wrong)


@kind(AREA, own, times=2)
def pattern_that_excludes(case: Case):
    wrong, found = [(5, "'exclude' is 5"), (['b*'], 'b*')][case.turn]
    case.data['exclude'] = wrong
    return 'data.yaml', found


@kind(AREA, own, times=2)
def key_twice(case: Case):
    text, found = [
        ('classes: [ground, plant, stone]\nval: 0.34\n', "'val'"),
        ('classes: {ground: 0, plant: 1, plant: 2}\n', "'plant'"),
    ][case.turn]
    case.data = None
    case.texts['data.yaml'] = (
        f'labeled: {{images: photos, masks: masks}}\nunlabeled: [more]\nval: 0.5\n{text}'
    )
    return 'data.yaml', found, 'twice', 'line'


@kind(AREA, own, times=7)
def no_yaml(case: Case):
    case.data = None
    text, found = [
        (b'labeled:\n\timages: photos\n', r'\t'),
        (b'labeled: {images: photos, masks: masks\nclasses: [a, b]\n', 'line'),
        (b'labeled: photos\nclasses [a, b]\n', 'line'),
        ('labeled: {images: photos, masks: masks}\n'.encode('utf-16'), 'UTF-8'),
        (b'', 'no keys'),
        (b'[' * 3000, 'nested'),
        (b'labeled: !!python/object/apply:os.getcwd []\n', 'python'),
    ][case.turn]
    case.texts['data.yaml'] = text
    return 'data.yaml', found


@kind(AREA, own, times=2)
def no_json(case: Case):
    text = json.dumps(case.data)
    case.data = None
    case.texts['data.json'] = (text[: len(text) // 2], f'[{text}]')[case.turn]
    for key in ('train_dataloader.dataset.labeled', 'train_dataloader.dataset.unlabeled'):
        case.set(f'{key}.data_file', 'data.json')
    case.set('val_dataloader.dataset.data_file', 'data.json')
    return 'data.json', ('column', 'no keys')[case.turn]


@kind(AREA, own, times=2)
def data_file_that_is_none(case: Case):
    case.data = None
    if case.turn:
        case.file('data.yaml').mkdir()
    return 'data.yaml', ('does not exist', 'folder')[case.turn]
