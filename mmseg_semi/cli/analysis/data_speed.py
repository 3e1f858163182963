"""Measure the input pipeline: mmseg-semi data-speed {pipeline,pool,list} ...

    pipeline   images per second on one core, from file to weak and strong view, beside plain Pillow
    pool       throughput and memory of the data loader on a pool of tar shards
    list       start-up time and memory of a list of millions of unlabelled images

All images are generated. Those of pool and list stay below --work, so that a second call only
measures.
"""

import argparse
import io
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from rich.progress import track

from mmseg_semi.cli.common import tool
from mmseg_semi.files import whole_file
from mmseg_semi.preparing.quickstart_scenes import draw_scene
from mmseg_semi.preparing.shards import write_shards
from mmseg_semi.runtime import configs
from mmseg_semi.runtime.measuring import Ratio, interleave

CASES = {  # config -> (height, width) of the files, options of their format
    'voc': ((375, 500), dict(format='JPEG', quality=92)),
    'cityscapes': ((1024, 2048), dict(format='PNG')),
}


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest='task', required=True)
    pipeline = tasks.add_parser('pipeline', help='images per second on one core')
    pipeline.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    pipeline.add_argument('--rounds', type=int, default=40, help='measured images of each pipeline')
    pool = tasks.add_parser('pool', help='a pool of tar shards')
    pool.add_argument('--images', type=int, default=100_000)
    pool.add_argument('--per-shard', type=int, default=5000)
    pool.add_argument('--workers', type=int, default=1)
    pool.add_argument('--shuffle', choices=('whole', 'shards'), default='whole')
    listed = tasks.add_parser('list', help='a list of millions of images')
    listed.add_argument('--images', type=int, default=10_000_000)
    listed.add_argument('--draws', type=int, default=200, help='images read after the start')
    for task in (pool, listed):
        task.add_argument('--work', type=Path, default=Path('work_dirs/data_speed'))
    return parser.parse_args(arguments)


# -- plain Pillow, as in torchvision's transforms on PIL images ----------------------------------


def plain_pipeline(content: bytes, crop: int, normalise: bool) -> tuple:
    """Weak view, strong view (RGB) and validity, one operation after the other.

    It draws the same random numbers as this package's pipeline.

    Args:
        content: An image file.
        crop: Side of the crop.
        normalise: Return normalised floats, as torchvision's ToTensor and Normalize do; else uint8.
    """
    img = Image.open(io.BytesIO(content)).convert('RGB')
    valid = Image.fromarray(np.zeros((img.height, img.width), np.uint8))
    width, height = img.size
    long_side = np.random.randint(int(0.5 * max(img.size)), int(2.0 * max(img.size)) + 1)
    factor = long_side / max(img.size)
    size = (int(width * factor + 0.5), int(height * factor + 0.5))
    img = img.resize(size, Image.Resampling.BILINEAR)
    valid = valid.resize(size, Image.Resampling.NEAREST)
    border = (0, 0, max(crop - size[0], 0), max(crop - size[1], 0))
    img = ImageOps.expand(img, border, fill=0)
    valid = ImageOps.expand(valid, border, fill=255)
    top = np.random.randint(0, img.height - crop + 1)
    left = np.random.randint(0, img.width - crop + 1)
    img = img.crop((left, top, left + crop, top + crop))
    valid = valid.crop((left, top, left + crop, top + crop))
    if np.random.rand() < 0.5:
        img = img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        valid = valid.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    strong = img
    if np.random.rand() < 0.8:
        amounts = [np.random.uniform(0.5, 1.5) for _ in range(3)] + [np.random.uniform(-0.25, 0.25)]
        for place in np.random.permutation(4):
            strong = _ADJUST[place](strong, amounts[place])
    if np.random.rand() < 0.2:
        strong = strong.convert('L').convert('RGB')
    if np.random.rand() < 0.5:
        strong = strong.filter(ImageFilter.GaussianBlur(np.random.uniform(0.1, 2.0)))
    views = [_to_tensor(view, normalise) for view in (img, strong)]
    return *views, torch.from_numpy(np.array(valid)) != 255


def _adjust_hue(img: Image.Image, turns: float) -> Image.Image:
    hue, saturation, value = img.convert('HSV').split()
    shift = np.array(turns * 255).astype(np.int32).astype(np.uint8)
    hue = Image.fromarray(np.array(hue) + shift)
    return Image.merge('HSV', (hue, saturation, value)).convert('RGB')


_ADJUST = (
    lambda img, factor: ImageEnhance.Brightness(img).enhance(factor),
    lambda img, factor: ImageEnhance.Contrast(img).enhance(factor),
    lambda img, factor: ImageEnhance.Color(img).enhance(factor),
    _adjust_hue,
)
_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def _to_tensor(img: Image.Image, normalise: bool) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(img)).permute(2, 0, 1).contiguous()
    return tensor.float().div(255).sub_(_MEAN).div_(_STD) if normalise else tensor


# -- pipelines ---------------------------------------------------------------------------------


def files_of(case: str, count: int = 4) -> list[bytes]:
    """Scenes in the size and format of a data set, with the sensor noise of photographs."""
    (height, width), options = CASES[case]
    files = []
    for number in range(count):
        scene = Image.fromarray(draw_scene((number,), (height // 2, width // 2))[0])
        img = np.asarray(scene.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
        noise = np.random.default_rng(number).normal(0, 1.5, img.shape)
        img = np.clip(img + noise.round(), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(img).save(file, **options)
        files.append(file.getvalue())
    return files


def shipped_pipeline(case: str, deferred: bool) -> tuple[Callable[[dict], dict], int]:
    """The unlabelled pipeline of the shipped config, with colour on the CPU or the device."""
    cfg = configs.load_config(f'mmseg_semi::_base_/datasets/{case}.py')
    steps = list(cfg.unlabeled_pipeline)
    if deferred:
        colour = [step for step in cfg.strong_view if step['type'] != 'PackSemiInputs']
        weak = [dict(type='DeferColour', transforms=colour), *cfg.weak_view]
        steps[-1] = dict(type='MultiBranch', branch_field=cfg.views, weak=weak)
    return Compose([TRANSFORMS.build(step) for step in steps]), cfg.crop_size[0]


def measure_pipelines(args: argparse.Namespace) -> None:
    """Print images per second of each pipeline and their ratios."""
    for case in args.cases:
        files = files_of(case)
        ours, crop = shipped_pipeline(case, deferred=False)
        deferred, _ = shipped_pipeline(case, deferred=True)

        def read(content: bytes, pipeline=ours) -> None:
            pipeline(dict(img_path='generated', img_bytes=content, seg_fields=[]))

        pipelines = {
            'plain, normalised floats': lambda c, crop=crop: plain_pipeline(c, crop, True),
            'plain, uint8': lambda c, crop=crop: plain_pipeline(c, crop, False),
            'ours': read,
            'ours, colour on the device': lambda c, pipeline=deferred: read(c, pipeline),
        }

        def timed(pipeline: Callable, rounds: Iterator[int], files=files) -> float:
            number = next(rounds)
            np.random.seed(number)  # all pipelines draw the same sizes and crops
            start = time.process_time()
            pipeline(files[number % len(files)])
            return time.process_time() - start

        steps = [partial(timed, pipeline, itertools.count()) for pipeline in pipelines.values()]
        times = dict(zip(pipelines, interleave(steps, args.rounds, warmup=4), strict=True))
        kilobytes = sum(map(len, files)) / len(files) / 1024
        (height, width), options = CASES[case]
        print(f'\n{width} x {height} {options["format"]} ({kilobytes:.0f} KiB) at crop {crop}')
        for name, values in times.items():
            mean = statistics.mean(values)
            factor = statistics.mean(times['plain, normalised floats']) / mean
            print(f'  {name:28s} {1e3 * mean:7.2f} ms  {1 / mean:7.1f} images/s  {factor:5.2f} x')
        for plain in ('plain, normalised floats', 'plain, uint8'):
            print(f'  {plain} / ours, pair by pair: {Ratio.of(times[plain], times["ours"])}')


# -- memory ------------------------------------------------------------------------------------


def memory_of(pid: int) -> tuple[float, float]:
    """MiB that a process uses, and MiB of them that it does not share (Linux)."""
    fields: dict[str, int] = {}
    for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:]:
        name, _, value = line.partition(':')
        fields[name] = int(value.split()[0])
    own = fields['Private_Clean'] + fields['Private_Dirty']
    return fields['Rss'] / 1024, own / 1024


def seconds_of(pids: list[int]) -> float:
    """CPU seconds of processes so far (Linux)."""
    ticks = 0
    for pid in pids:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf('SC_CLK_TCK')


def workers_of(iterator) -> list[int]:
    """Process ids of a data loader's workers."""
    return [worker.pid for worker in getattr(iterator, '_workers', [])]


def pipelines(crop: int) -> tuple[list[dict], list[dict]]:
    """A short labelled and a short unlabelled pipeline."""
    views, pack = ['labeled', 'weak', 'strong'], [dict(type='PackSemiInputs')]
    geometry = [dict(type='RandomScaleCrop', crop_size=crop), dict(type='RandomFlip', prob=0.5)]
    load, branch = dict(type='LoadImage'), dict(type='MultiBranch', branch_field=views)
    strong = [dict(type='PILColorJitter'), dict(type='PILGaussianBlur'), *pack]
    return (
        [
            load,
            dict(type='LoadSegLabels', num_classes=3),
            *geometry,
            dict(branch, labeled=pack),
        ],
        [load, dict(type='InitValidMap'), *geometry, dict(branch, weak=pack, strong=strong)],
    )


def loader_of(root: Path, pool: dict, workers: int, shuffle: bool | str, batch: int) -> dict:
    """Config of a loader of 1 labelled image and ``batch - 1`` unlabelled ones."""
    (root / 'images').mkdir(parents=True, exist_ok=True)
    (root / 'labels').mkdir(exist_ok=True)
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / 'images' / f'a{number}.png')
        Image.fromarray(pixels[..., 0] % 3).save(root / 'labels' / f'a{number}.png')
    labeled = dict(
        type='BaseSegDataset',
        metainfo=dict(classes=('a', 'b', 'c')),
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        pipeline=pipelines(48)[0],
    )
    sampler = dict(
        type='MultiSourceSampler', batch_size=batch, source_ratio=[1, batch - 1], shuffle=shuffle
    )
    return dict(
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=sampler,
        dataset=dict(type='SemiDataset', labeled=labeled, unlabeled=pool),
    )


def measure_pool(args: argparse.Namespace) -> None:
    """Print throughput and memory while a pool is read."""
    folder = args.work / f'pool_{args.images}'
    names = [f'{number // 1000:06d}/{number:09d}.jpg' for number in range(args.images)]

    def draw(name: str) -> bytes:
        number = int(name[-13:-4])
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)
        return cv2.imencode('.jpg', pixels)[1].tobytes()

    write_shards(names, draw, folder, args.per_shard)
    # loading only: `pipeline` measures the transforms
    weak = dict(type='MultiBranch', branch_field=['labeled', 'weak', 'strong'])
    steps = [dict(type='LoadImage'), dict(weak, weak=[dict(type='PackSemiInputs')])]
    pool = dict(type='ShardedImages', shards=str(folder), pipeline=steps)
    shuffle = 'shards' if args.shuffle == 'shards' else True
    start = time.perf_counter()
    loader = Runner.build_dataloader(
        loader_of(args.work / 'labeled', pool, args.workers, shuffle, 17), seed=0
    )
    print(f'{args.images} images, start {time.perf_counter() - start:.1f} s')
    print('  images        images   images a second    MiB of this process,   of each worker')
    print('    read     a second      of computing    of it its own')
    iterator, steps = iter(loader), args.images // 16
    pids = [os.getpid(), *workers_of(iterator)]
    seen, last, computed = set(), time.perf_counter(), seconds_of(pids)
    for step in range(steps):
        for sample in next(iterator)['data_samples']['weak'][1:]:
            seen.add(hash(sample.img_path))
        if (step + 1) % max(steps // 10, 1) == 0:
            now, total = time.perf_counter(), seconds_of(pids)
            count = max(steps // 10, 1) * 16
            memory = [memory_of(pid) for pid in pids]
            here, *there = (f'{used:.0f}, {own:.0f}' for used, own in memory)
            speeds = count / (now - last), count / max(total - computed, 0.01)
            print(
                f'{(step + 1) * 16:8d} {speeds[0]:12.0f} {speeds[1]:17.0f} {here:>19s} '
                f'{"; ".join(there):>19s}',
                flush=True,
            )
            last, computed = now, total
    print(f'{len(seen)} different images in {steps * 16} draws')


def measure_list(args: argparse.Namespace) -> None:
    """Print start-up time and memory of a list."""
    # all paths exist with few files: the folders are links to the same one
    each = min(10_000, args.images)
    root = args.work / f'list_{args.images}'
    real, images = root / 'real', root / 'images'
    if not (root / 'list.txt').is_file():
        real.mkdir(parents=True, exist_ok=True)
        images.mkdir(exist_ok=True)
        content = cv2.imencode('.jpg', np.full((64, 64, 3), 127, np.uint8))[1].tobytes()
        for number in track(range(each), description='files'):
            (real / f'frame_{number:06d}.jpg').write_bytes(content)
        folders = [f'drive_{number:05d}' for number in range(-(-args.images // each))]
        for folder in folders:
            if not (images / folder).is_symlink():
                (images / folder).symlink_to(real.resolve())
        names = (f'{folder}/frame_{n:06d}\n' for folder in folders for n in range(each))
        with whole_file(root / 'list.txt') as draft, open(draft, 'w') as file:
            file.writelines(itertools.islice(names, args.images))
    pool = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images'),
        ann_file='list.txt',
        pipeline=pipelines(48)[1],
    )
    before, own = memory_of(os.getpid())
    print(f'before: {before:.0f} MiB ({own:.0f} its own)')
    start, computed = time.perf_counter(), time.process_time()
    loader = Runner.build_dataloader(loader_of(args.work / 'labeled', pool, 2, True, 5), seed=0)
    built, computed = time.perf_counter(), time.process_time() - computed
    iterator = iter(loader)
    next(iterator)
    first = time.perf_counter()
    for _ in range(args.draws // 4):
        next(iterator)
    peak = [
        int(line.split()[1]) // 1024
        for line in Path('/proc/self/status').read_text().splitlines()
        if line.startswith('VmHWM')
    ]
    print(
        f'{len(loader.dataset)} images: checked in {built - start:.1f} s ({computed:.1f} s of '
        'computing)'
    )
    print(f'first batch {first - built:.1f} s later; peak {peak[0]} MiB')
    for name, pid in [
        ('this process', os.getpid()),
        *(('a worker', p) for p in workers_of(iterator)),
    ]:
        used, own = memory_of(pid)
        print(f'{name}: {used:.0f} MiB ({own:.0f} its own)')


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    torch.set_num_threads(1)  # one core, as in a worker
    cv2.setNumThreads(0)
    configs.share_temporary_folder()
    init_default_scope('mmseg')
    measure = dict(pipeline=measure_pipelines, pool=measure_pool, list=measure_list)
    measure[args.task](args)
