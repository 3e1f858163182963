"""Write tasks as Label Studio's export 'JSON' has them, with brush strokes of label-studio-sdk 2.1.2.

python -m venv /tmp/ls && /tmp/ls/bin/pip install label-studio-sdk==2.1.2 && /tmp/ls/bin/python make_label_studio.py
"""

import json
from pathlib import Path

import numpy as np
from label_studio_sdk.converter.brush import decode_rle, mask2rle

HERE = Path(__file__).parent
WIDTH, HEIGHT = 40, 20


def result(kind, value, number, **more):
    return (
        dict(
            original_width=WIDTH,
            original_height=HEIGHT,
            image_rotation=0,
            value=value,
            id=f'r{number}',
            from_name='label',
            to_name='image',
            type=kind,
            origin='manual',
        )
        | more
    )


def annotation(number, results, **more):
    return (
        dict(
            id=number,
            completed_by=1,
            result=results,
            was_cancelled=False,
            ground_truth=False,
            created_at='2026-11-20T08:00:00.000000Z',
            updated_at='2026-11-20T08:00:00.000000Z',
            draft_created_at=None,
            lead_time=12.5,
            prediction={},
            result_count=len(results),
            task=number,
            parent_prediction=None,
            parent_annotation=None,
        )
        | more
    )


def task(number, image, annotations, **more):
    return (
        dict(
            id=number,
            annotations=annotations,
            file_upload=image.rpartition('/')[2],
            drafts=[],
            predictions=[],
            data=dict(image=image),
            meta={},
            created_at='2026-11-20T07:00:00.000000Z',
            updated_at='2026-11-20T09:00:00.000000Z',
            inner_id=number,
            total_annotations=len(annotations),
            cancelled_annotations=0,
            total_predictions=0,
            project=3,
        )
        | more
    )


def polygon(points, label, number):
    value = dict(points=points, closed=True, polygonlabels=[label])
    return result('polygonlabels', value, number)


mask = np.zeros((HEIGHT, WIDTH), np.uint8)
mask[12:18, 5:25] = 255
mask[14:16, 8:12] = 0
rle = mask2rle(mask)
assert np.array_equal(decode_rle(rle).reshape(HEIGHT, WIDTH, 4)[..., 3], mask)

square = [[10, 10], [50, 10], [50, 60], [10, 60]]  # percentages: pixels 4 to 20, 2 to 12
box = dict(x=50, y=50, width=25, height=20, rotation=90, rectanglelabels=['cat'])
ellipse = dict(x=75, y=50, radiusX=20, radiusY=30, rotation=0, ellipselabels=['dog'])
brush = dict(format='rle', rle=rle, brushlabels=['cat'])
points = [[0, 0], [25, 0], [25, 50], [0, 50]]
old = annotation(21, [polygon(square, 'cat', 1)])
new = annotation(22, [polygon(points, 'dog', 1)], updated_at='2026-11-21T08:00:00.000000Z')
late = dict(updated_at='2026-11-22T08:00:00.000000Z')
tasks = [
    task(
        1,
        '/data/upload/3/0a1b2c3d-one.png',
        [
            annotation(
                11,
                [
                    polygon(square, 'dog', 1),
                    result('rectanglelabels', box, 2),
                    result('brushlabels', brush, 3),
                    result('keypointlabels', dict(x=5, y=5, width=1, keypointlabels=['dog']), 4),
                    dict(type='choices', value=dict(choices=['sharp']), id='r5', from_name='c'),
                ],
            )
        ],
    ),
    # three annotations: the latest that was not cancelled counts
    task(
        2,
        '/data/local-files/?d=photos/two%20b.png',
        [new, old, annotation(23, [], was_cancelled=True, **late)],
    ),
    # a shape and its class as two results of one id
    task(
        3,
        'https://example.org/photos/three.png?size=large',
        [
            annotation(
                31,
                [
                    result('ellipse', {k: v for k, v in ellipse.items() if k[-6:] != 'labels'}, 1),
                    result('labels', ellipse | dict(labels=['dog']), 1),
                ],
            )
        ],
    ),
    task(4, '/data/upload/3/0a1b2c3d-four.png', [annotation(41, [])]),
    task(5, '/data/upload/3/0a1b2c3d-five.png', [annotation(51, [], was_cancelled=True)]),
    task(
        6,
        '/data/upload/3/0a1b2c3d-six.png',
        [],
        predictions=[dict(id=1, model_version='m', result=[polygon(square, 'cat', 1)], task=6)],
    ),
    task(7, '/data/upload/3/0a1b2c3d-seven.png', []),
]
(HERE / 'label_studio/project.json').write_text(json.dumps(tasks))
