"""Images that cannot be read, or are not what the data file says."""

import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

from ..grammar import Case, kind
from ..ground import SIZE, listed, own, save, scene

AREA = 'images'
LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:' + b'0' * 64 + b'\nsize 12345\n'


def broken(case: Case, content: bytes) -> bytes:
    """A file's content after one of several accidents."""
    wrong = [
        b'',
        content[: case.number(len(content) // 3, len(content) * 2 // 3)],
        LFS,
        b'<!DOCTYPE html><title>404</title>',
        bytes(len(content)),
        case.rng.bytes(len(content)),
    ]
    return wrong[case.turn % len(wrong)]


@kind(AREA, own, times=6)
def labelled_image(case: Case):
    path = case.file(f'photos/a{case.number(0, 6)}.png')
    content = broken(case, path.read_bytes())
    path.write_bytes(content)
    return f'photos/{path.name}', f'{len(content)} bytes', 'cannot be decoded', 'replace the file'


@kind(AREA, own, times=6)
def unlabelled_image(case: Case):
    path = case.file(f'more/b{case.number(0, 4)}.png')
    content = broken(case, path.read_bytes())
    path.write_bytes(content)
    return f'more/{path.name}', f'{len(content)} bytes', 'cannot be decoded', 'replace the file'


@kind(AREA, listed, times=2)
def images_of_a_list(case: Case):
    """All of one kind, as a clone without git-lfs has them: the first step meets one."""
    for path in case.file('data/images/train').iterdir():
        path.write_bytes((LFS, b'')[case.turn])
    return 'data/images/train/train', 'cannot be decoded', 'replace the file'


@kind(AREA, own)
def image_of_a_billion_pixels(case: Case):
    """A header alone: what an upload that is meant to fill the memory looks like."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        )

    header = struct.pack('>IIBBBBB', 200_000, 200_000, 8, 2, 0, 0, 0)
    content = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
    content += chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')
    name = case.pick('photos/a2.png', 'more/b1.png')
    case.file(name).write_bytes(content)
    return name, 'pixels'


@kind(AREA, own)
def fractions_without_a_range(case: Case):
    for path in sorted(case.file('more').iterdir()):
        pixels = np.asarray(Image.open(path)).mean(2) / 255
        save(pixels.astype(np.float32), path.with_suffix('.tif'))
        path.unlink()
    return 'more/b0.tif', 'float32', 'value_range'


@kind(AREA, own)
def six_bands(case: Case):
    path = case.file('more/b1.png')
    pixels = np.asarray(Image.open(path))
    path.unlink()
    tifffile.imwrite(
        path.with_suffix('.tif'),
        np.concatenate([pixels, pixels], 2).astype(np.uint16) * 16,
        photometric='minisblack',
        planarconfig='contig',
    )
    return 'more/b1.tif', '6 bands', 'bands: {count: 6'


@kind(AREA, own)
def bands_that_one_file_lacks(case: Case):
    case.data['bands'] = dict(
        count=3, low=[0.0] * 3, high=[255.0] * 3, mean=[90.0] * 3, std=[40.0] * 3
    )
    path = case.file(f'more/b{case.number(0, 4)}.png')
    Image.open(path).convert('L').save(path)
    return f'more/{path.name}', '1 bands, expected 3', 'bands.count'


@kind(AREA, own, times=4)
def array_that_is_no_image(case: Case):
    wrong, found = [
        (np.zeros((2, 2, *SIZE[::-1], 3)), '5 axes'),
        (np.array([{'a': 1}], dtype=object), 'Object'),
        (np.zeros(SIZE[::-1], complex), 'complex'),
        (np.zeros((0, 0, 3), np.uint8), '0 x 0'),
    ][case.turn]
    path = case.file('more/b0.npy')
    case.file('more/b0.png').unlink()
    np.save(path, wrong, allow_pickle=True)
    return 'more/b0.npy', found


@kind(AREA, own)
def mask_of_another_size(case: Case):
    name = f'a{case.number(0, 6)}'
    width, height = SIZE[0] - case.number(1, 9), SIZE[1]
    path = case.file(f'masks/{name}.png')
    Image.open(path).crop((0, 0, width, height)).save(path)
    return (
        f'masks/{name}.png',
        f'{width} x {height}',
        f'{SIZE[0]} x {SIZE[1]}',
        f'photos/{name}.png',
    )


@kind(AREA, own)
def image_turned_beside_its_mask(case: Case):
    """A tag that turns a photograph by 90 degrees: its mask has the size of the stored pixels."""
    tag = Image.Exif()
    tag[0x0112] = 6
    name = f'a{case.number(0, 6)}'
    path = case.file(f'photos/{name}.png')
    Image.fromarray(scene(3)[0]).save(path, exif=tag)
    return f'masks/{name}.png', f'{SIZE[0]} x {SIZE[1]}', f'{SIZE[1]} x {SIZE[0]}'


@kind(AREA, own)
def range_of_no_pixels(case: Case):
    """16 bits of which the file has 12, and a range that no pixel lies in: all images become one grey."""
    for folder in ('photos', 'more'):
        for path in sorted(case.file(folder).iterdir()):
            pixels = np.asarray(Image.open(path).convert('L')).astype(np.uint16) * 16
            Image.fromarray(pixels).save(path)
    case.data['value_range'] = [10000, 65535]
    return 'data.yaml', 'value_range', '10000'
