"""Image labels from a table, from VOC's XML and from masks; what is wrong with them is told in one sentence."""

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

import projects.weak_labels  # noqa: F401  (registers)
from mmseg_semi.data.samplers import SampleKey
from mmseg_semi.errors import SetupError
from projects.weak_labels.image_labels import (
    ImageLabelDataset,
    classes_of_mask,
    read_table,
    read_voc_xml,
    write_table,
)

CLASSES = ('background', 'aeroplane', 'dog', 'person')
XML = '<annotation><filename>a.jpg</filename>{}</annotation>'
OBJECT = '<object><name>{}</name><difficult>1</difficult></object>'


def test_table_there_and_back(tmp_path):
    table = {'a': {'person', 'dog'}, 'folder/b': set(), 'c': {'aeroplane'}}
    write_table(tmp_path / 'labels.csv', table)
    assert (tmp_path / 'labels.csv').read_text().splitlines()[:2] == [
        'image,classes',
        'a,dog;person',
    ]
    assert read_table(tmp_path / 'labels.csv', CLASSES) == table


@pytest.mark.parametrize(
    ('rows', 'sentence'),
    [
        ('a,dog\n', "begins with 'a,dog', expected the header 'image,classes'"),
        ('', 'expected the header'),
        ('image,classes\na,dog,person\n', 'line 2: 3 columns, expected 2'),
        ('image,classes\na,dog\na,person\n', 'line 3: image a has a row already'),
        ('image,classes\na,persn\n', "class 'persn' is none of .* did you mean 'person'"),
    ],
)
def test_wrong_tables(tmp_path, rows, sentence):
    path = tmp_path / 'labels.csv'
    path.write_text(rows)
    with pytest.raises(SetupError, match=sentence):
        read_table(path, CLASSES)


def test_missing_table(tmp_path):
    with pytest.raises(SetupError, match='table of image labels .* does not exist; write it'):
        read_table(tmp_path / 'none.csv', CLASSES)


def test_voc_xml(tmp_path):
    path = tmp_path / 'a.xml'
    path.write_text(
        XML.format(OBJECT.format('dog') + OBJECT.format('person') + OBJECT.format('dog'))
    )
    assert read_voc_xml(path, CLASSES) == {'dog', 'person'}  # difficult ones as well
    path.write_text(XML.format(''))
    assert read_voc_xml(path, CLASSES) == set()
    path.write_text(XML.format(OBJECT.format('horse')))
    with pytest.raises(SetupError, match="a.xml: class 'horse' is none of"):
        read_voc_xml(path, CLASSES)
    path.write_text('<annotation>')
    with pytest.raises(SetupError, match='is no XML'):
        read_voc_xml(path, CLASSES)
    with pytest.raises(SetupError, match='annotation .* does not exist'):
        read_voc_xml(tmp_path / 'b.xml', CLASSES)


def test_masks(tmp_path):
    labels = np.zeros((10, 10), np.uint8)
    labels[0, :5] = 2
    labels[1, 0] = 3
    labels[9] = 255
    Image.fromarray(labels).save(tmp_path / 'a.png')
    path = tmp_path / 'a.png'
    assert classes_of_mask(path, CLASSES) == {'background', 'dog', 'person'}
    assert classes_of_mask(path, CLASSES, min_share=0.01) == {'background', 'dog'}
    assert classes_of_mask(path, CLASSES, min_share=0.05) == {'background'}


@pytest.fixture
def data(tmp_path):
    """Three images, their labels as a table, and a list."""
    init_default_scope('mmseg')
    for name in 'abc':
        Image.new('RGB', (12, 10), (200, 30, 60)).save(tmp_path / f'{name}.png')
    (tmp_path / 'list.txt').write_text('a\nb\nc\n')
    write_table(tmp_path / 'labels.csv', {'a': {'water'}, 'b': {'sky', 'tree'}, 'c': set()})
    return dict(
        type='ImageLabelDataset',
        kind='QuickstartDataset',
        images=str(tmp_path),
        img_suffix='.png',
        lists=str(tmp_path / 'list.txt'),
        labels=dict(kind='csv', path=str(tmp_path / 'labels.csv')),
        leave_out=('sky', 'ground'),
        pipeline=[
            dict(type='LoadImage'),
            dict(type='RandomScaleCrop', crop_size=(8, 8), ratio_range=(0.8, 2.0)),
            dict(type='PackImageLabels'),
        ],
    )


def test_data_set(data):
    dataset = DATASETS.build(data)
    assert isinstance(dataset, ImageLabelDataset)
    assert dataset.metainfo == dict(
        classes=('water', 'building', 'tree', 'vehicle'), indices=(2, 3, 4, 5)
    )
    assert dataset.targets.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert dataset.source_sizes == [3] and len(dataset) == 3
    sample = dataset[SampleKey(1, 7)]
    assert sample['inputs'].shape == (3, 8, 8) and sample['inputs'][:, 0, 0].tolist() == [
        60,
        30,
        200,
    ]
    assert sample['data_samples'].labels.tolist() == [0, 0, 1, 0]
    assert sample['data_samples'].name == 'b'


def test_wrong_data_sets(data, tmp_path):
    def refused(sentence, **changes):
        with pytest.raises(SetupError, match=sentence):
            DATASETS.build({**data, **changes})

    write_table(tmp_path / 'short.csv', {'a': {'water'}})
    refused(
        r'short.csv has no row for image b \(2 of 3 are missing\)',
        labels=dict(kind='csv', path=str(tmp_path / 'short.csv')),
    )
    refused(
        'labels.xml.* does not exist', labels=dict(kind='csv', path=str(tmp_path / 'labels.xml'))
    )
    refused("kind='json'", labels=dict(kind='json', path='x'))
    refused('folder nowhere does not exist', labels=dict(kind='voc_xml', path='nowhere'))
    refused('annotation .*a.xml does not exist', labels=dict(kind='voc_xml', path=str(tmp_path)))
    refused('list .*none.txt does not exist', lists=str(tmp_path / 'none.txt'))
    refused('a is in more than one', lists=[data['lists'], data['lists']])
    refused('image .*a.jpg does not exist', img_suffix='.jpg')
    refused("class 'sea' is none of", leave_out=('sea',))
    refused('no registered data set', kind='NoSuchDataset')
