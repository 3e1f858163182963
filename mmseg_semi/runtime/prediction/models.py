"""From what a user calls a model (a published file, a checkpoint, a run's folder) to a network that predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from torch import nn

from mmseg_semi.data.checks import header_size
from mmseg_semi.data.own_data import OwnData
from mmseg_semi.data.semi_dataset import build_sources, with_lists
from mmseg_semi.errors import SetupError
from mmseg_semi.packaged import find_config
from mmseg_semi.runtime import configs, stack
from mmseg_semi.runtime.checkpoints import best_checkpoint, is_whole
from mmseg_semi.runtime.devices import replace_sync_bn
from mmseg_semi.runtime.labelling import without_labels
from mmseg_semi.runtime.pictures import default_palette
from mmseg_semi.runtime.results import choose_network


@dataclass(frozen=True)
class ModelFiles:
    """The two files of a model."""

    config: Path
    checkpoint: Path


def find_model(model: str | Path, config: str | Path | None = None) -> ModelFiles:
    """Find config and checkpoint of a model.

    Args:
        model: A published ``.pth`` with its ``.py`` beside it; a checkpoint in the folder of its run, or any checkpoint
            together with ``config``; the folder of a run, or of a project of ``mmseg-semi init``: of these the checkpoint
            that validated best, else the newest one. Files that were cut short do not count.
        config: The config, if it does not stand beside the checkpoint.

    Raises:
        SetupError: If there is no such file, it is cut short, or it is not clear which config belongs to it.
    """
    model = Path(model)
    if model.is_dir():
        return _find_in_folder(model, config)
    if not model.is_file():
        raise SetupError(
            f"model '{model}' does not exist; give a published .pth file, a checkpoint, or the folder of a run or a project"
        )
    if model.suffix == '.py':
        raise SetupError(
            f"model '{model}' is a config, expected its weights; give the .pth file, and the config by --config"
        )
    if not is_whole(model):
        raise SetupError(
            f"model '{model}' is cut short or no checkpoint of PyTorch; copy it again or give another one"
        )
    return ModelFiles(_find_config(model, model.parent, config), model)


PROJECT_CONFIG = 'config.py'
"""The config of a project folder."""


def _find_in_folder(folder: Path, config: str | Path | None) -> ModelFiles:
    checkpoint = best_checkpoint(folder)
    if checkpoint is not None:
        return ModelFiles(_find_config(checkpoint, folder, config), checkpoint)
    project = Path(config) if config is not None else folder / PROJECT_CONFIG
    if project.is_file():
        run = folder / 'work_dirs' / project.stem
        checkpoint = best_checkpoint(run)
        if checkpoint is not None:
            return ModelFiles(project, checkpoint)
        raise SetupError(
            f"the project '{folder}' has no complete checkpoint in {run}; train it first, or give the folder of its run"
        )
    raise SetupError(
        f"model '{folder}' is a folder without a complete checkpoint (iter_*.pth) and without {PROJECT_CONFIG}; give the "
        'folder of a run that has saved one, of a project, or a .pth file'
    )


def _find_config(checkpoint: Path, folder: Path, config: str | Path | None) -> Path:
    if config is not None:
        if not find_config(config).is_file():
            raise SetupError(f"--config '{config}' does not exist; give the config of the run")
        return find_config(config)
    beside = checkpoint.with_suffix('.py')
    if beside.is_file():
        return beside
    # MMEngine writes the config of a run into its folder, under the config's own name
    found = sorted(folder.glob('*.py'))
    if len(found) == 1:
        return found[0]
    if found:
        raise SetupError(
            f"{len(found)} configs stand beside '{checkpoint}' ({names_text([path.name for path in found])}); name the one "
            'that it was trained with by --config'
        )
    raise SetupError(
        f"no config stands beside '{checkpoint}', expected {beside.name} or the config of the run; name it by --config"
    )


@dataclass
class Model:
    """A network that predicts, and what its config says about its images.

    Attributes:
        segmentor: In evaluation mode, on its device.
        network: The plain segmentor that predicts; ``segmentor`` itself, if that is one.
        name: 'student', 'teacher', 'peer' or 'network', of a plain segmentor.
        cfg: The config.
        files: Where it was read from.
        classes: Names of the K classes.
        palette: K colours of 3 numbers in 0..255.
        pipeline: Configs of the test pipeline's transforms, without those that load labels.
        own: The user's own data that the config names, if its file is there.
        missing_data: The data file that the config names, if it is not there.
        image_size: Usual (height, width) of the images that it was trained on, if known.
        why: Why this network predicts, a sentence; empty if there was no choice.
    """

    segmentor: nn.Module
    network: nn.Module
    name: str
    cfg: Config
    files: ModelFiles
    classes: tuple[str, ...]
    palette: list[list[int]]
    pipeline: list[dict]
    own: OwnData | None
    missing_data: str | None = None
    image_size: tuple[int, int] | None = None
    why: str = ''

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device


def load_model(files: ModelFiles, network: str | None = None, device: str | None = None) -> Model:
    """Build a network with its weights.

    Args:
        files: Of :func:`find_model`.
        network: 'student', 'teacher' or 'peer' of a run's checkpoint; None takes the one that validated better, as ``mmseg-semi
            publish`` does.
        device: Such as 'cpu' or 'cuda:0'; None takes a GPU if there is one.

    Raises:
        SetupError: If the checkpoint is of another architecture or class count than the config, or has no such network.
    """
    cfg = configs.load_config(files.config)
    if cfg.get('model') is None:
        raise SetupError(f"config '{files.config}' has no key 'model'; give the config of a run")
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    device = choose_device(device)
    replace_sync_bn(cfg.model)
    segmentor = revert_sync_batchnorm(
        MODELS.build(ConfigDict(_without_weights(cfg.model.to_dict())))
    )
    weights = stack.safe_load(files.checkpoint, 'cpu')
    meta = (weights.get('meta') or {}) if isinstance(weights, dict) else {}
    predicting, why = plain_segmentor(segmentor, network, weights, files)
    check_class_count(weights, predicting, files)
    del weights
    with stack.complete_weights():
        load_checkpoint(segmentor, str(files.checkpoint), map_location='cpu', logger='silent')
    own, missing = own_data(cfg)
    classes, palette = class_names(meta, own, predicting.num_classes, files)
    return Model(
        segmentor.to(device).eval(),
        predicting.eval(),
        _name_of(segmentor, predicting),
        cfg,
        files,
        classes,
        palette,
        test_pipeline(cfg, files.config),
        own,
        missing,
        image_size(meta, cfg, own),
        why,
    )


def choose_device(device: str | None) -> str:
    """The device by its name; the machine's best one by default.

    Raises:
        SetupError: If there is no such device.
    """
    device = device or get_device()
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().partition('\n')[0]
        raise SetupError(
            f"--device '{device}' cannot be used ({reason}); give cpu or cuda:0"
        ) from error
    return device


def _without_weights(node: Any) -> Any:
    """The model's config without files of initial weights, which its checkpoint replaces."""
    if isinstance(node, dict):
        return {
            k: _without_weights(v) for k, v in node.items() if k not in ('init_cfg', 'pretrained')
        }
    if isinstance(node, list | tuple):
        return type(node)(_without_weights(item) for item in node)
    return node


def plain_segmentor(
    segmentor: nn.Module, name: str | None, checkpoint: dict, files: ModelFiles
) -> tuple[nn.Module, str]:
    """The plain segmentor that predicts, and why this one.

    Args:
        segmentor: The model of the config.
        name: 'student', 'teacher', 'peer', or None: the one that ``mmseg-semi publish`` would take.
        checkpoint: With the validations of its run, if it is one's.
        files: For errors.

    Raises:
        SetupError: If ``name`` is given for a plain segmentor, or the model predicts in another way.
    """
    if hasattr(segmentor, 'networks'):
        if name is not None:
            return segmentor.network(name), ''
        name, why = choose_network(segmentor, checkpoint)
        return segmentor.network(name), why
    if name is not None:
        raise SetupError(
            f"--network {name}: the model of config '{files.config}' is one plain network; leave the option out"
        )
    if not hasattr(segmentor, 'inference') or not hasattr(segmentor, 'decode_head'):
        raise SetupError(
            f"the model of config '{files.config}' is a {type(segmentor).__name__}, expected an EncoderDecoder or a "
            'SemiSegmentor; publish one network of it first (mmseg-semi publish CONFIG CHECKPOINT)'
        )
    return segmentor, ''


def _name_of(segmentor: nn.Module, network: nn.Module) -> str:
    networks = getattr(segmentor, 'networks', {})
    return next((name for name, found in networks.items() if found is network), 'network')


def check_class_count(checkpoint: Any, network: nn.Module, files: ModelFiles) -> None:
    """Refuse a checkpoint whose classifier has another number of classes than the config.

    Raises:
        SetupError: With both numbers.
    """
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else {}
    head = (
        network.decode_head[-1]
        if isinstance(network.decode_head, nn.ModuleList)
        else network.decode_head
    )
    classifier = getattr(head, 'conv_seg', None)
    own = next(
        (k for k, p in head.named_parameters() if p is getattr(classifier, 'weight', None)), None
    )
    if own is None:  # a head without this layer, or whose layer is none of torch's
        return
    for key, tensor in state.items():
        if key.endswith(f'decode_head.{own}') and tensor.shape[0] != classifier.weight.shape[0]:
            raise SetupError(
                f"checkpoint '{files.checkpoint}' has {tensor.shape[0]} classes, but the config '{files.config}' has "
                f'{classifier.weight.shape[0]} (model...decode_head.num_classes); give the config that it was trained with'
            )


def class_names(
    meta: dict, own: OwnData | None, num_classes: int, files: ModelFiles
) -> tuple[tuple[str, ...], list[list[int]]]:
    """Names and colours of the classes: of the checkpoint, else of the own data, else numbers.

    Raises:
        SetupError: If the checkpoint names another number of classes than the network has.
    """
    told = meta.get('dataset_meta') or {}
    names, palette = told.get('classes'), told.get('palette')
    if not names and own is not None and len(own.mask_map.names) == num_classes:
        names, palette = own.mask_map.names, own.palette
    if not names:
        names = [f'class {index}' for index in range(num_classes)]
    if len(names) != num_classes:
        raise SetupError(
            f"checkpoint '{files.checkpoint}' names {len(names)} classes, but the config '{files.config}' has "
            f'{num_classes}; give the config that it was trained with'
        )
    if not palette or len(palette) != num_classes:
        palette = default_palette(num_classes)
    return tuple(map(str, names)), [[int(value) for value in colour] for colour in palette]


def test_pipeline(cfg: Config, config: Path) -> list[dict]:
    """The transforms of an image without labels, as ``inference_model`` uses them.

    Raises:
        SetupError: If the config has none, or it does not begin with loading an image.
    """
    pipeline = cfg.get('test_pipeline')
    if pipeline is None:
        dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
        pipeline = dataset.get('pipeline')
    steps = [dict(step) for step in without_labels(pipeline or [])]
    if not steps or not str(steps[0]['type']).startswith('Load'):
        raise SetupError(
            f"config '{config}' has no test_pipeline that begins with loading an image; add one as in "
            'configs/_base_/datasets/semi.py'
        )
    return steps


def own_data(cfg: Config) -> tuple[OwnData | None, str | None]:
    """The description of a user's own data that a config names first, and the file if it is not there."""
    for file in _data_files(cfg):
        if isinstance(file, str) and not Path(file).is_file():
            return None, file
        return OwnData(file), None
    return None, None


def image_size(meta: dict, cfg: Config, own: OwnData | None) -> tuple[int, int] | None:
    """Usual (height, width) of the training's images: as a published file says, else as the files themselves do."""
    told = meta.get('image_size')
    return tuple(told) if told else training_size(cfg, own)


def _data_files(cfg: Config) -> list:
    found = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if node.get('type') == 'FolderDataset' and node.get('data_file') is not None:
                found.append(node['data_file'])
            node = list(node.values())
        if isinstance(node, list | tuple):
            for child in node:
                look(child)

    for key in ('train_dataloader', 'test_dataloader'):
        look(cfg.get(key))
    return found


def training_size(cfg: Config, own: OwnData | None, limit: int = 50) -> tuple[int, int] | None:
    """Usual (height, width) of the labelled images of a config; None if they are not there.

    It is the median of the images' headers. Masks are not opened.

    Args:
        cfg: The config of a run.
        own: Its own data.
        limit: Number of images to look at, spread over all of them.
    """
    paths = labelled_images(cfg, own)
    step = max(1, len(paths) // limit)
    sizes = [size for path in paths[::step] if (size := header_size(path)) is not None]
    if not sizes:
        return None
    height, width = torch.tensor(sizes).median(0).values.tolist()
    return height, width


def labelled_images(cfg: Config, own: OwnData | None) -> list[str]:
    """Images that a config names as labelled, those for validation and testing too, as far as they are there."""
    if own is not None:
        return _existing(own)
    data = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    test = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    if (data.get('labeled') or test).get('type') in (None, 'FolderDataset'):
        return []
    try:
        if data.get('labeled'):
            lists = with_lists({**data, 'unlabeled': None})  # that of its split
            (built,) = build_sources({**lists['labeled'], 'pipeline': []}, None)
        else:
            built = DATASETS.build({**test, 'pipeline': []})
        paths = [built.get_data_info(index)['img_path'] for index in range(len(built))]
    except (SetupError, OSError, AssertionError):
        # data that stayed on the machine of the training, of which MMSegmentation asserts; the caller says so
        return []
    return [path for path in paths if Path(path).is_file()]


def _existing(own: OwnData) -> list[str]:
    try:
        parts = [
            part
            for part in ('labeled', 'val', 'test')
            if part == 'labeled' or own.content.get(part)
        ]
        return [pair['img_path'] for part in parts for pair in own.files(part)]
    except SetupError:
        return []  # as above


def names_text(names: Sequence[str], shown: int = 5) -> str:
    """Some names for a sentence.

    Example:
        >>> names_text(['a', 'b', 'c'], 2)
        'a, b and 1 more'
    """
    text = ', '.join(names[:shown])
    return text if len(names) <= shown else f'{text} and {len(names) - shown} more'
