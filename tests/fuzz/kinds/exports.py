"""Exports of annotation tools with one wrong value, and options that do not belong to them."""

import json
from pathlib import Path

from ..grammar import Case, kind
from ..ground import coco, cvat, datumaro, label_studio, labelme, supervisely, voc, yolo

AREA = 'exports'


def change_json(path: Path, place: str, value: object) -> None:
    """Replace one value of a JSON file by its dotted path; a value of ``...`` removes it."""
    content = json.loads(path.read_text())
    node, (*above, last) = content, place.split('.')
    for key in above:
        node = node[int(key)] if isinstance(node, list) else node[key]
    last = int(last) if isinstance(node, list) else last
    if value is ...:
        del node[last]
    else:
        node[last] = value
    path.write_text(json.dumps(content))


@kind(AREA, coco, times=12)
def value_of_a_coco_file(case: Case):
    number = case.number(0, 4)
    image, annotation = case.content['images'][number], case.content['annotations'][number]
    where, key, wrong, names = [
        (case.content, 'annotations', ..., ('annotations',)),
        (case.content, 'images', {}, ('images', '{}')),
        (image, 'file_name', 7, ('file_name', '7')),
        (image, 'id', [1], ('id', '[1]')),
        (image, 'width', -48, (image['file_name'], '-48')),
        (annotation, 'image_id', 99, (f'annotation {number}', '99')),
        (annotation, 'image_id', [number], (f'annotation {number}', f'[{number}]')),
        (annotation, 'category_id', 9, (f'annotation {number}', '9', '1: plant')),
        (annotation, 'segmentation', [[1, 2, 'a', 4, 5, 6]], (f'annotation {number}', "'a'")),
        (annotation, 'segmentation', [[1, 2, 3, 4, 5]], (f'annotation {number}', '5 numbers')),
        (
            annotation,
            'segmentation',
            dict(size=[36, 48], counts=[5, 9]),
            (f'annotation {number}', '14 pixels'),
        ),
        (case.content['categories'][0], 'name', None, ('category 1', "no 'name'")),
    ][case.turn]
    if wrong is ...:
        del where[key]
    else:
        where[key] = wrong
    return 'coco.json', *names


@kind(AREA, coco, times=5)
def file_that_is_none(case: Case):
    text = json.dumps(case.content)
    case.content = None
    case.texts['coco.json'] = [
        b'',
        text[: len(text) // 2].encode(),
        text.encode('utf-16'),
        b'[' * 5000,
        json.dumps(dict(hello='world')).encode(),
    ][case.turn]
    return 'coco.json', ('empty', 'JSON', 'UTF-8', 'nested', 'no export')[case.turn]


@kind(AREA, coco, times=4)
def images_of_an_export(case: Case):
    if case.turn == 0:
        case.command[3] = 'photo'
        return '--images', 'photo', 'folder'
    if case.turn == 1:
        for path in case.file('photos').iterdir():
            path.rename(path.with_suffix('.gif'))
        return 'coco.json', 'a0.png', '--images'
    if case.turn == 2:
        case.file('photos/a2.png').write_bytes(b'<html>')
        return 'photos/a2.png', 'replace the file'
    case.content['images'][1].update(width=48, height=30)
    case.content['annotations'][1]['segmentation'] = [[1, 1, 40, 1, 40, 28, 1, 28]]
    return 'a1.png', '48 x 30', '48 x 36'


@kind(AREA, labelme, times=4)
def file_of_labelme(case: Case):
    place, wrong, names = [
        ('shapes.0.points', [[1, 2], [3]], ('shape 0', '[[1, 2], [3]]')),
        ('shapes.0.shape_type', 'star', ('shape 0', "'star'")),
        ('shapes', {'a': 1}, ('shapes',)),
        ('shapes.0.label', None, ('shape 0', "no 'label'")),
    ][case.turn]
    change_json(case.file('export/all.json'), place, wrong)
    return 'export/all.json', *names


@kind(AREA, cvat, times=3)
def file_of_cvat(case: Case):
    path = case.file('export/annotations.xml')
    text = path.read_text()
    old, new, names = [
        ('</annotations>', '', ('annotations.xml',)),
        ('points="', 'points="a,b;', ('annotations.xml', "['a', 'b']")),
        ('width="', 'width="x', ('annotations.xml', 'x')),
    ][case.turn]
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return names


@kind(AREA, yolo, times=3)
def file_of_yolo(case: Case):
    path = case.file('export/labels/train/a.txt')
    line, found = [
        ('7 0.1 0.1 0.5 0.1 0.5 0.5', '7'),
        ('0 0.1 0.1 0.5', '3'),
        ('leaf 0.1 0.1 0.5 0.1 0.5 0.5', 'leaf'),
    ][case.turn]
    path.write_text(f'{line}\n')
    return 'labels/train/a.txt', found


@kind(AREA, label_studio, times=2)
def file_of_label_studio(case: Case):
    path = case.file('export/project.json')
    tasks = json.loads(path.read_text())
    number = next(i for i, task in enumerate(tasks) if task.get('annotations'))
    if case.turn:
        tasks[number]['annotations'][0]['result'] = 'none'
    else:
        tasks[number]['data'] = 'photo.jpg'
    path.write_text(json.dumps(tasks))
    return 'project.json', ("'data'", "result='none'")[case.turn]


@kind(AREA, supervisely, times=2)
def file_of_supervisely(case: Case):
    place, wrong, found = [
        ('size', {'width': '64', 'height': 48}, "'64'"),
        ('objects.0.classTitle', 'moon', "'moon'"),
    ][case.turn]
    change_json(case.file('export/train/ann/a.png.json'), place, wrong)
    return 'a.png.json', found


@kind(AREA, datumaro, times=2)
def file_of_datumaro(case: Case):
    place, wrong, found = [
        ('items.0.annotations.0.label_id', 99, '99'),
        ('items.0.annotations.0.type', 'star', "'star'"),
    ][case.turn]
    change_json(case.file('export/annotations/train.json'), place, wrong)
    return 'train.json', found


@kind(AREA, voc, times=2)
def folder_of_voc(case: Case):
    path = case.file('export/labelmap.txt')
    lines = path.read_text().splitlines()
    if case.turn:
        case.file('export/SegmentationClass/day 1/a.png').write_bytes(b'')
        return 'SegmentationClass/day 1/a.png', 'export it again'
    lines[-1] = lines[-1].split(':')[0] + ':36,179,999::'
    path.write_text('\n'.join(lines) + '\n')
    return 'labelmap.txt', '36,179,999'


@kind(AREA, coco, times=7)
def option_of_init(case: Case):
    words, names = [
        (['--val', '1.5'], ('--val', '1.5')),
        (['--val', 'nan'], ('--val', 'nan')),
        (['--classes', 'plant', 'plant'], ('--classes', 'plant')),
        (['--classes', 'plant'], ('--classes', 'stone')),
        (['--classes', 'plant', 'ston'], ('--classes', "'ston'", "'stone'")),
        (['--line-width', '-3'], ('--line-width', '-3')),
        (['--format', 'labelme'], ('coco.json', 'labelme')),
    ][case.turn]
    case.command += words
    return names


@kind(AREA, coco, times=2)
def project_that_is_there(case: Case):
    case.texts['project/notes.txt'] = 'mine\n'
    if case.turn:
        case.texts = {'project': 'mine\n'}
    return '--out', 'project'
