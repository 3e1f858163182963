"""Which images train with and without masks, and which validate."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_semi.errors import SetupError
from mmseg_semi.preparing.annotations import AnnotatedImage, Export, Region
from mmseg_semi.preparing.projects import divide, parts

RING = np.array([(0, 0), (2, 0), (2, 2)], float)


class Made:
    def __init__(self, root: Path) -> None:
        self.root, self.images, self.number = root, [], 0

    def file(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.number += 1
        Image.new('RGB', (8, 8), (self.number, 0, 0)).save(path)
        return path

    def image(self, name: str, *labels: str, part: str | None = None, there: bool = True) -> None:
        path = self.file(f'images/{name}') if there else None
        regions = [Region(label, (RING,)) for label in labels]
        self.images.append(
            AnnotatedImage(name, path, regions=regions, annotated=bool(labels), part=part)
        )

    def divide(self, *folders: str, val=None):
        export = Export('X', Path('x.json'), [], self.images, '', ('background', ''))
        return divide(export, [self.root / folder for folder in folders], val)


@pytest.fixture
def made(tmp_path):
    made = Made(tmp_path)
    for i in range(10):
        made.image(f'{i}.png', 'leaf', *(['stone'] if i in (2, 5) else []))
    made.image('u.png')
    return made


def names(images) -> set[str]:
    return {image.name for image in images}


@pytest.mark.parametrize(('val', 'number'), [(None, 2), (0.3, 3), (0.01, 1), (0.99, 9)])
def test_a_share_validates(made, val, number):
    found = made.divide(val=val)
    assert len(found.val) == number and len(found.train) == 10 - number
    assert names(found.val).isdisjoint(names(found.train))
    assert names(found.val) == names(made.divide(val=val).val)
    assert [name for name, _ in found.unlabeled] == ['u.png']


def test_a_class_stays_in_training_if_it_can(tmp_path):
    made = Made(tmp_path)
    for i in range(8):
        made.image(f'{i}.png', 'leaf', f'rare{i}' if i < 6 else 'leaf')
    made.image('u.png')
    assert names(made.divide(val=0.25).val) == {'6.png', '7.png'}


def test_a_class_of_a_finished_mask_stays_in_training(made, tmp_path):
    images = made.images[:10]
    export = Export('X', Path('x.json'), [], made.images, '', ('background', ''))
    rare = {image.name: {0, i + 1} for i, image in enumerate(images) if i not in (3, 7)}
    found = divide(export, labels=lambda image: rare.get(image.name, {0}))
    assert names(found.val) == {'3.png', '7.png'}


def test_parts_of_the_export(made):
    for image in made.images[:3]:
        image.part = 'val'
    made.images[3].part = 'test'
    made.image('held.png', part='test')
    found = made.divide()
    assert names(found.val) == {'0.png', '1.png', '2.png'} and names(found.test) == {'3.png'}
    assert found.counts[parts.HELD_OUT] == 1 and len(found.unlabeled) == 1
    assert len(made.divide(val=0.5).val) == 4  # of the nine that are not in the test part


def test_a_folder_validates(made):
    made.image('clip/1.png', 'leaf')
    assert names(made.divide(val=made.root / 'images/clip').val) == {'clip/1.png'}


def test_folders_of_unlabelled_images_without_the_annotated_ones(made):
    for name in ('more/a.png', 'more/deep/b.png', 'other/a.png'):
        made.file(name)
    shutil.copy(made.root / 'images/1.png', made.root / 'more/copy.png')
    (made.root / 'more/link.png').symlink_to(made.root / 'images/2.png')
    (made.root / 'more/again.png').symlink_to(made.root / 'other/a.png')
    found = made.divide('more', 'other', 'images')
    assert [name for name, _ in found.unlabeled] == ['u.png', 'a.png', 'again.png', 'deep/b.png']
    # copy.png, link.png and the ten of images/; other/a.png and images/u.png
    assert found.counts[parts.ANNOTATED_COPIES] == 12 and found.counts[parts.TWICE] == 2


def test_images_that_are_not_there_are_listed(made):
    made.image('gone.png', 'leaf', there=False)
    made.image('gone too.png', there=False)
    found = made.divide()
    assert found.missing == ['gone.png'] and found.missing_unannotated == ['gone too.png']


def lose_all(made: Made) -> None:
    for image in made.images:
        image.path = None


def keep(number: int):
    def change(made: Made) -> None:
        made.images = [*made.images[:number], made.images[-1]]

    return change


def one_file_twice(made: Made) -> None:
    made.images[1].path = made.images[0].path


MISTAKES = [
    (
        lose_all,
        {},
        r'none of the 10 annotated images of x.json is there .0.png, 1.png, 2.png and 7',
    ),
    (keep(0), {}, 'has 1 images and none of them is annotated with a region'),
    (keep(1), {}, 'has 1 annotated image whose file is there; training and validation need one'),
    (lambda made: made.images.pop(), {}, 'every image of x.json is annotated, .* --unlabeled'),
    (lambda _: None, dict(val=1.5), '--val 1.5: expected a share between 0 and 1'),
    (lambda _: None, dict(val=Path('gone')), '--val gone is neither a share such as 0.2 nor a fol'),
    (one_file_twice, {}, r'names the images 0.png and 1.png, and for both the file \S+0.png was'),
]


@pytest.mark.parametrize(('damage', 'options', 'sentence'), MISTAKES)
def test_mistakes_are_one_sentence(made, damage, options, sentence):
    damage(made)
    with pytest.raises(SetupError, match=sentence) as caught:
        made.divide(**options)
    assert '\n' not in str(caught.value)


def test_wrong_folders(made, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SetupError, match='--unlabeled .*empty holds no image; name a folder with'):
        made.divide('empty')
    with pytest.raises(SetupError, match='--unlabeled .*gone is no folder'):
        made.divide('gone')
    with pytest.raises(SetupError, match='none of the 10 annotated images lies in this folder'):
        made.divide(val=tmp_path / 'empty')
    with pytest.raises(SetupError, match='all 10 annotated images validate'):
        made.divide(val=tmp_path / 'images')
