"""Train by ST++: mmseg-semi selective-retraining CONFIG [--work-dir DIR] [--single-stage] [--tta] ...

ST++ (arXiv 2106.05095) trains three times from the initial weights. It

1. trains on the labelled images (folder labels/ of the work folder);
2. ranks the unlabelled images by the agreement of earlier checkpoints' predictions with the last one's;
3. labels the more reliable half with the last checkpoint (pseudo_masks/);
4. trains on labelled images and these pseudo-masks (reliable/);
5. labels the remaining images with the network of stage 4;
6. trains on all images (all/), which gives the final network.

With --single-stage (ST) all unlabelled images are labelled after the first training, and the second one is the last.

Each finished stage is noted in done/ and kept, an interrupted training is resumed from its last checkpoint: after an
interruption the same command goes on. The trainings are ordinary runs, of the config that stands in their folder.
"""

import argparse
import copy
import gc
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dist import (
    all_gather_object,
    barrier,
    get_dist_info,
    is_main_process,
)
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from rich.progress import track

from mmseg_semi.cli.common import add_config_arguments, tool
from mmseg_semi.cli.test import augment
from mmseg_semi.data.semi_dataset import KEY, SemiDataset, image_names
from mmseg_semi.data.splits import hash_names
from mmseg_semi.data.transforms import LoadPseudoMask, save_mask
from mmseg_semi.errors import SetupError
from mmseg_semi.files import write_whole
from mmseg_semi.methods.stpp import most_stable, stability_score
from mmseg_semi.methods.stpp.hook import FOLDER, snapshot_iterations
from mmseg_semi.runtime import configs, devices, stack
from mmseg_semi.runtime.checkpoints import latest_checkpoint
from mmseg_semi.runtime.configs import print_once
from mmseg_semi.runtime.labelling import ImagesToLabel, Labeller
from mmseg_semi.runtime.peers import peer_is_lost, watched_peers
from mmseg_semi.runtime.run_lock import hold
from mmseg_semi.runtime.stopping import StopHook, stop_requests
from mmseg_semi.runtime.training_stages import (
    STAGES,
    TRAININGS,
    check_config,
    compared_content,
    first_difference,
    labels_config,
    of_stage,
    retraining_config,
)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config file, such as one of configs/stpp')
    parser.add_argument(
        '--work-dir', help='folder of all stages; default work_dirs/ and the path below configs/'
    )
    parser.add_argument(
        '--single-stage',
        action='store_true',
        help='ST: label all unlabelled images at once, without ranking them',
    )
    parser.add_argument(
        '--checkpoints',
        type=int,
        default=3,
        help='number of checkpoints of the first training whose predictions are compared; default 3',
    )
    parser.add_argument(
        '--reliable',
        type=float,
        default=0.5,
        metavar='SHARE',
        help='share of the unlabelled images that is labelled first; default 0.5',
    )
    parser.add_argument(
        '--tta', action='store_true', help='average over scales and flips when masks are written'
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU'
    )
    add_config_arguments(parser)
    return parser.parse_args(arguments)


# --------------------------------------------------------------------------------------- the stages


class SelectiveRetraining:
    """The stages of ST or ST++ in one work folder.

    Args:
        cfg: The config, with its ``work_dir``.
        args: The options of the command.
        content: What :func:`compared_content` makes of the config as it was loaded.

    Raises:
        SetupError: If config, lists or images are not as they must be, or the folder holds a run with other settings.
    """

    def __init__(self, cfg: Config, args: argparse.Namespace, content: dict) -> None:
        compared = None if args.single_stage else args.checkpoints
        check_config(cfg, args.config, compared, args.reliable)
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        self.cfg, self.args = cfg, args
        self.folder = Path(cfg.work_dir)
        self.masks = self.folder / 'pseudo_masks'
        labelling = copy.deepcopy(cfg)
        self.tta_model = None
        if args.tta:
            augment(labelling, args.config)
            self.tta_model = cfg.tta_model
        MODELS.build(copy.deepcopy(cfg.model))  # refuses now what the second training could not use
        labeled, self.pool = self._read_lists()
        self.names = image_names(self.pool)
        self.classes = labeled.metainfo['classes']
        count = len(self.names)
        if not args.single_stage and not 0 < int(count * args.reliable) < count:
            raise SetupError(
                f'{KEY}.unlabeled has {count} images, of which --reliable {args.reliable} leaves '
                f'{int(count * args.reliable)} reliable and {count - int(count * args.reliable)} remaining ones; both '
                'parts need one: add images, change the share, or give --single-stage'
            )
        self.images = ImagesToLabel(self.pool, cfg.test_pipeline, 'test_pipeline')
        self.to_label = self.images
        if args.tta:
            pipeline = labelling.test_dataloader.dataset.pipeline
            self.to_label = ImagesToLabel(self.pool, pipeline, 'tta_pipeline')
        self.image_folder = self.pool.data_prefix.get('img_path') or ''
        self.loader = LoadPseudoMask(str(self.masks), images=self.image_folder)
        self._check_mask_paths()
        self._check_settings(image_names(labeled), content)

    def _read_lists(self) -> Sequence:
        """The labelled and the unlabelled data set, after all checks of lists and files."""
        dataset = copy.deepcopy(self.cfg.train_dataloader.dataset)
        dataset.unlabeled.pipeline = []
        sources: SemiDataset = DATASETS.build(dataset)
        sources.full_init()
        return sources.datasets

    def _check_mask_paths(self) -> None:
        places: dict[str, str] = {}
        for path in self.images:
            other = places.setdefault(self.loader.mask_path(path), path)
            if other != path:
                raise SetupError(
                    f'{KEY}.unlabeled: {other} and {path} would have one pseudo-mask, {self.loader.mask_path(path)}; '
                    'rename one of the images'
                )

    def _check_settings(self, labeled: Sequence[str], content: dict) -> None:
        """Keep the settings of the run, and refuse to go on with others once something of it is kept."""
        args = self.args
        settings = dict(
            config=args.config,
            labeled_sha256=hash_names(labeled),
            unlabeled_sha256=hash_names(self.names),
            single_stage=args.single_stage,
            checkpoints=args.checkpoints,
            reliable=args.reliable,
            tta=args.tta,
            amp=args.amp,
            content=content,
        )
        path = self.folder / 'settings.json'
        found = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}
        begun = path.is_file() and (
            any(self._note(name).is_file() for name in STAGES)
            or latest_checkpoint(self.folder / 'labels') is not None
        )
        barrier()  # all processes have looked
        if not begun:  # such as after a stop for want of memory: a smaller batch is no other run
            if is_main_process():
                write_whole(path, json.dumps(settings, indent=1) + '\n')
            return
        # keys of the config first: another list file in it is the reason why the hashes of the names differ
        difference = first_difference(found.pop('content', {}), settings.pop('content'))
        if not difference:
            settings['config'] = found.get('config')  # the same config may be named by another path
            difference = first_difference(found, settings)
        if difference:
            _, before, now = difference
            raise SetupError(
                f'{self.folder} holds a run with {before}, but this command has {now}; go on with the config, lists and '
                'options that began it, or give another --work-dir'
            )

    # -- order -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the stages that are not finished yet."""
        number = len(self.names)
        first = ('train_labels', 'train on the labelled images', self.train_labels)
        final = (
            'train_all',
            f'train on labelled and {number} pseudo-labelled images',
            lambda: self.train('all', self.names),
        )
        if self.args.single_stage:
            stages = [
                first,
                ('label_all', f'label {number} images', lambda: self.label('labels', self.names)),
                final,
            ]
        else:
            count = int(number * self.args.reliable)
            stages = [
                first,
                ('rank', f'rank {number} unlabelled images by their stability', self.rank),
                (
                    'label_reliable',
                    f'label the {count} most reliable images',
                    lambda: self.label('labels', self.listed('reliable')),
                ),
                (
                    'train_reliable',
                    f'train on labelled and {count} reliable pseudo-labelled images',
                    lambda: self.train('reliable', self.listed('reliable')),
                ),
                (
                    'label_remaining',
                    f'label the remaining {number - count} images',
                    lambda: self.label('reliable', self.listed('remaining')),
                ),
                final,
            ]
        self._refuse_former_stages({name: text for name, text, _ in stages})
        for position, (name, text, action) in enumerate(stages, 1):
            self._finish(f'stage {position} of {len(stages)}', name, text, action)
        self._report()

    def _finish(self, place: str, name: str, text: str, action: Callable[[], dict]) -> None:
        """Run a stage, unless it is noted as finished, and note it."""
        note = self._note(name)
        if note.is_file():
            print_once(f'{place}: {text}: finished before')
            return
        print_once(f'{place}: {text}')
        result = action()
        barrier()
        if is_main_process():
            write_whole(note, json.dumps(result, indent=1) + '\n')
        barrier()

    def _note(self, name: str) -> Path:
        """The file that notes a stage as finished."""
        return self.folder / 'done' / f'{name}.json'

    def _kept(self, first: str) -> list[Path]:
        """Notes and folders of trainings that are there, of a stage and all later ones.

        Lists and pseudo-masks are not among them: their stages write them anew.
        """
        paths = []
        for name in STAGES[STAGES.index(first) :]:
            paths.append(self._note(name))
            if name.startswith('train_'):
                paths.append(self.folder / name.removeprefix('train_'))
        return [path for path in paths if path.exists()]

    def _removal(self, first: str) -> str:
        """What to remove for a stage to run again."""
        return f'remove {" and ".join(map(str, self._kept(first)))}'

    def _refuse_former_stages(self, stages: dict[str, str]) -> None:
        """Refuse to run a stage before later ones of a former run, which would count as finished."""
        name = next((name for name in stages if not self._note(name).is_file()), None)
        later = STAGES[STAGES.index(name) + 1 :] if name else ()
        if later and self._kept(later[0]):
            raise SetupError(
                f"stage '{name}' ({stages[name]}) would run again, because {self._note(name)} is missing, but "
                f'{", ".join(map(str, self._kept(name)))} belong to the former run; remove them, or give another --work-dir'
            )

    def _report(self) -> None:
        for stage in TRAININGS:
            path = self.folder / stage / 'results.json'
            if not path.is_file():
                continue
            summary = json.loads(path.read_text(encoding='utf-8'))['summary']
            scores = [
                f'{key} {row["last"]:.2f}' for key, row in summary.items() if key.endswith('mIoU')
            ]
            print_once(f'{stage}: {", ".join(scores)} (last validation)')
        print_once(f'the final network: {latest_checkpoint(self.folder / "all")}')

    # -- trainings ---------------------------------------------------------------------------------

    def train_labels(self) -> dict:
        """Train on the labelled images, keeping the weights that are compared."""
        cfg = labels_config(self.cfg)
        if not self.args.single_stage:
            earlier = snapshot_iterations(cfg.train_cfg.max_iters, self.args.checkpoints)[:-1]
            hook = dict(type='SnapshotHook', iterations=earlier)
            cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
        return self._train(cfg, 'labels')

    def train(self, stage: str, names: Sequence[str]) -> dict:
        """Train on labelled and pseudo-labelled images from the initial weights."""
        if 'data_file' in self.cfg.train_dataloader.dataset.unlabeled:  # it has no lists
            position = {name: index for index, name in enumerate(self.names)}
            images = dict(indices=[position[name] for name in names])
        else:
            images = dict(ann_file=str(self._write_list(stage, names).absolute()))
        cfg = retraining_config(self.cfg, stage, images, self.masks.absolute(), self.image_folder)
        return self._train(cfg, stage)

    def _train(self, cfg: Config, stage: str) -> dict:
        """An ordinary run, resumed from its last checkpoint if there is one."""
        cfg.work_dir = str(self.folder / stage)
        if configs.shared_checkpoint(cfg.work_dir) is not None:
            configs.set_resume(cfg, 'auto')
        # MMEngine keeps one log and one visualiser of a name in a process
        cfg.experiment_name = f'{Path(self.args.config).stem}_{stage}'
        if cfg.get('visualizer'):
            cfg.visualizer.name = cfg.work_dir
        with hold(cfg.work_dir):  # `train` may be given this folder, too
            runner = configs.build_runner(cfg)
            with stop_requests() as requests, stack.complete_weights(cfg.get('resume', False)):
                requests.is_ending = peer_is_lost
                runner.register_hook(StopHook(requests))
                runner.train()
        iterations = runner.iter
        devices.end_workers()
        del runner
        gc.collect()  # hooks and runner refer to each other and hold the optimiser's memory
        return dict(iterations=iterations, checkpoint=latest_checkpoint(cfg.work_dir).name)

    def _weights(self, cfg: Config) -> list[Path]:
        """Files of the weights that are compared, the last checkpoint at the end."""
        folder = self.folder / 'labels'
        numbers = snapshot_iterations(cfg.train_cfg.max_iters, self.args.checkpoints)[:-1]
        return [
            *(folder / FOLDER / f'iter_{number}.pth' for number in numbers),
            self._last('labels'),
        ]

    def _last(self, stage: str) -> Path:
        """The last checkpoint of a finished training."""
        checkpoint = latest_checkpoint(self.folder / stage)
        if checkpoint is None:
            raise SetupError(
                f'{self.folder / stage} has no complete checkpoint; {self._removal(f"train_{stage}")} to train again'
            )
        return checkpoint

    # -- pseudo-masks ------------------------------------------------------------------------------

    def rank(self) -> dict:
        """Write the stability score of each unlabelled image, and the lists of both parts."""
        cfg = labels_config(self.cfg)
        files = self._weights(cfg)
        missing = next((path for path in files if not path.is_file()), None)
        if missing:
            raise SetupError(
                f'the weights {missing} of the first training are missing; {self._removal("train_labels")} to train again'
            )
        networks = [Labeller(copy.deepcopy(cfg.model), path) for path in files]
        classes = len(self.classes)
        scores = {}
        for index in self._shared(range(len(self.names)), 'ranking'):
            batch = self.images.batch(index)
            scores[index] = stability_score([network(batch) for network in networks], classes)
        merged = {
            index: score for part in all_gather_object(scores) for index, score in part.items()
        }
        by_name = {name: merged[index] for index, name in enumerate(self.names)}
        reliable, remaining = most_stable(by_name, self.args.reliable)
        if is_main_process():
            ranked = {name: round(by_name[name], 6) for name in [*reliable, *remaining]}
            write_whole(self.folder / 'stability.json', json.dumps(ranked, indent=1) + '\n')
        self._write_list('reliable', reliable)
        self._write_list('remaining', remaining)
        values = list(by_name.values())
        print_once(
            f'stability: mean {np.mean(values):.3f}, lowest {min(values):.3f}, highest {max(values):.3f}; scores in '
            f'{self.folder / "stability.json"}, lists in {self.folder / "lists"}'
        )
        return dict(checkpoints=[path.name for path in files], reliable=len(reliable))

    def label(self, stage: str, names: Sequence[str]) -> dict:
        """Write the pseudo-masks of images, by the last checkpoint of a training."""
        checkpoint, classes = self._last(stage), len(self.classes)
        cfg = labels_config(self.cfg) if stage == 'labels' else of_stage(self.cfg, stage)
        model = cfg.model if self.tta_model is None else dict(self.tta_model, module=cfg.model)
        network = Labeller(copy.deepcopy(model), checkpoint)
        position = {name: index for index, name in enumerate(self.names)}
        pixels = np.zeros(classes, np.int64)
        for index in self._shared([position[name] for name in names], 'labelling'):
            labels = network(self.to_label.batch(index)).numpy()
            save_mask(self.loader.mask_path(self.images.path(index)), labels)
            pixels += np.bincount(labels.ravel(), minlength=classes)
        pixels = sum(all_gather_object(pixels))
        return dict(
            masks=len(names),
            checkpoint=str(checkpoint.relative_to(self.folder)),
            pixels=dict(zip(self.classes, pixels.tolist(), strict=True)),
        )

    def _shared(self, indices: Sequence[int], what: str):
        """The part of this process, with a progress bar on the first one."""
        rank, world_size = get_dist_info()
        return track(list(indices)[rank::world_size], what, disable=rank > 0)

    def listed(self, part: str) -> list[str]:
        """Names of a list that :meth:`rank` wrote."""
        path = self.folder / 'lists' / f'{part}.txt'
        if not path.is_file():
            raise SetupError(
                f'list {path} is missing; {self._removal("rank")} to rank the images again'
            )
        return path.read_text(encoding='utf-8').splitlines()

    def _write_list(self, part: str, names: Sequence[str]) -> Path:
        path = self.folder / 'lists' / f'{part}.txt'
        if is_main_process():
            write_whole(path, ''.join(f'{name}\n' for name in names))
        barrier()
        return path


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    cfg = configs.load_config(args.config, args.cfg_options)
    content = compared_content(cfg)
    configs.set_work_dir(cfg, args.work_dir, args.config)
    devices.init_distributed(cfg, args.launcher, args.local_rank)
    devices.set_precision(cfg, args.amp)
    devices.join_processes(cfg)
    with watched_peers(), hold(cfg.work_dir):
        SelectiveRetraining(cfg, args, content).run()
