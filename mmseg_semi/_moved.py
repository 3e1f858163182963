"""Old import paths of modules that moved in version 0.2, for one release.

An import by an old path gives what the new modules hold and a ``DeprecationWarning`` that names them, so that a
user's ``custom_imports`` and scripts go on. Nothing inside the package uses an old path.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Sequence

_ROOT = 'mmseg_semi'

MOVED: dict[str, tuple[str, ...]] = {
    'batch_colour': ('data.colour.after_mixing', 'data.colour.hsv'),
    'checkpoints': ('runtime.checkpoints', 'files'),
    'datasets': (
        'data.camvid',
        'data.colour.transforms',
        'data.folder_dataset',
        'data.pools',
        'data.quickstart',
        'data.samplers',
        'data.semi_dataset',
        'data.sun_rgbd',
        'data.transforms',
    ),
    'datasets.camvid': ('data.camvid',),
    'datasets.checks': ('data.checks',),
    'datasets.colour': (
        'data.colour.transforms',
        'data.colour.images',
        'data.colour.operations',
    ),
    'datasets.duplicates': ('preparing.duplicates',),
    'datasets.folder_dataset': ('data.folder_dataset', 'data.transforms'),
    'datasets.inspection': (
        'preparing.inspection',
        'preparing.inspection_report',
        'preparing.inspection_sources',
        'data.decoding',
    ),
    'datasets.inspection_page': ('preparing.inspection_page',),
    'datasets.made_splits': ('preparing.made_splits',),
    'datasets.names': ('data.names',),
    'datasets.own_data': ('data.own_data', 'data.mask_map'),
    'datasets.png': ('data.decoding.png',),
    'datasets.pools': ('data.pools',),
    'datasets.preparation': (
        'preparing.conversion',
        'preparing.archives',
        'preparing.downloads',
        'preparing.image_files',
        'preparing.jobs',
        'preparing.manifest',
        'labels',
    ),
    'datasets.published_splits': ('preparing.published_splits',),
    'datasets.quickstart': ('preparing.quickstart', 'data.quickstart'),
    'datasets.quickstart_scenes': ('preparing.quickstart_scenes', 'data.quickstart'),
    'datasets.randomness': ('data.randomness',),
    'datasets.samplers': ('data.samplers',),
    'datasets.semi_dataset': ('data.semi_dataset',),
    'datasets.shards': ('preparing.shards',),
    'datasets.split_reports': ('preparing.split_reports',),
    'datasets.splits': ('data.splits', 'preparing.split_lists', 'files'),
    'datasets.sun_rgbd': ('data.sun_rgbd',),
    'datasets.transforms': ('data.transforms', 'labels'),
    'density': (
        'methods.dgcl.class_bank',
        'methods.dgcl.class_order',
        'methods.ddfp.flow',
        'methods.dgcl.knn',
        'methods.ddfp.mixture',
    ),
    'density.class_bank': ('methods.dgcl.class_bank', 'methods.dgcl.class_order'),
    'density.flow': ('methods.ddfp.flow',),
    'density.knn': ('methods.dgcl.knn',),
    'density.mixture': ('methods.ddfp.mixture',),
    'density.prototypes': ('methods.mllc.prototypes',),
    'device_colour': ('data.colour.batches',),
    'evaluation': ('runtime.loops',),
    'evaluation.loops': ('runtime.loops',),
    'graphs': ('methods.mllc.graphs',),
    'heads.cct_head': ('methods.cct.head',),
    'heads.ddfp_head': ('methods.ddfp.head',),
    'heads.deeplabv2_head': ('heads.deeplabv2',),
    'heads.deeplabv3plus_head': ('heads.deeplabv3plus',),
    'heads.dgcl_head': ('methods.dgcl.head',),
    'heads.mllc_head': ('methods.mllc.head',),
    'heads.pixel_shuffle': ('methods.cct.pixel_shuffle',),
    'hooks': (
        'runtime.checkpoint_hook',
        'methods.ddfp.hook',
        'runtime.pseudo_label_hook',
        'runtime.results',
        'step.hooks',
    ),
    'hooks.checkpoint_hook': ('runtime.checkpoint_hook',),
    'hooks.flow_estimator_hook': ('methods.ddfp.hook',),
    'hooks.mean_teacher_hook': ('step.hooks',),
    'hooks.pseudo_label_hook': ('runtime.pseudo_label_hook',),
    'hooks.results_hook': ('runtime.results',),
    'hooks.skipped_images': ('data.skipped_images',),
    'hooks.step_hook': ('step.hooks',),
    'launch': ('runtime.configs', 'runtime.devices', 'cli.common'),
    'losses': (
        'methods.cct.bootstrapped',
        'methods.cct.consistency',
        'methods.dgcl.contrast',
        'step.losses',
    ),
    'losses.bootstrapped': ('methods.cct.bootstrapped',),
    'losses.consistency': ('methods.cct.consistency',),
    'losses.contrast': ('methods.dgcl.contrast',),
    'losses.node_contrast': ('methods.mllc.node_contrast',),
    'losses.pixel': ('step.losses',),
    'measuring': ('runtime.measuring', 'step.parts'),
    'mixing': ('step.mixing', 'step.mixing_pixels'),
    'objectives': (
        'step.objective',
        'methods.cct.objective',
        'methods.ddfp.objective',
        'methods.dgcl.objective',
        'methods.mllc.objective',
        'methods.perturbed_features',
        'methods.self_training',
        'methods.supervised',
    ),
    'objectives.base': ('step.objective',),
    'objectives.cct': ('methods.cct.objective',),
    'objectives.ddfp': ('methods.ddfp.objective', 'step.pixels'),
    'objectives.dgcl': ('methods.dgcl.objective', 'step.pixels'),
    'objectives.mllc': ('methods.mllc.objective',),
    'objectives.perturbed_features': ('methods.perturbed_features',),
    'objectives.self_training': ('methods.self_training',),
    'objectives.supervised': ('methods.supervised',),
    'optim': ('runtime.optimisers',),
    'perturbations': (
        'methods.cct.perturbations.adversarial',
        'methods.ddfp.direction',
        'methods.cct.perturbations.draws',
        'methods.cct.perturbations.features',
        'methods.cct.perturbations.guided',
        'methods.cct.perturbations.modules',
    ),
    'perturbations.adversarial': ('methods.cct.perturbations.adversarial',),
    'perturbations.density_descending': ('methods.ddfp.direction',),
    'perturbations.draws': ('methods.cct.perturbations.draws',),
    'perturbations.features': ('methods.cct.perturbations.features',),
    'perturbations.guided': ('methods.cct.perturbations.guided',),
    'perturbations.modules': ('methods.cct.perturbations.modules',),
    'pseudo_labels': (
        'methods.mllc.class_counts',
        'methods.mllc.correction_quality',
        'methods.mllc.pseudo_labels',
        'step.pseudo_labels',
    ),
    'pseudo_labels.class_counts': ('methods.mllc.class_counts',),
    'pseudo_labels.correction_quality': ('methods.mllc.correction_quality',),
    'pseudo_labels.graph_correction': ('methods.mllc.pseudo_labels',),
    'pseudo_labels.threshold': ('step.pseudo_labels',),
    'schedules': ('step.schedules',),
    'seeding': ('data.randomness',),
    'segmentors': ('step.data_preprocessor', 'step.segmentor', 'step.teacher'),
    'segmentors.data_preprocessor': ('step.data_preprocessor',),
    'segmentors.pretrained': ('step.pretrained',),
    'segmentors.semi_segmentor': ('step.segmentor',),
    'segmentors.teacher': ('step.teacher',),
    'stack': ('runtime.stack',),
    'structures': ('step.views', 'step.objective', 'labels'),
    'visualization': ('runtime.pictures',),
}
"""Old module below ``mmseg_semi`` -> the modules that hold its names now."""

RENAMED: dict[str, str] = {
    'StudentRows': 'StudentOutputs',
    'TeacherRows': 'TeacherOutputs',
    'VOID': 'IGNORE',
    'settle': 'commit',
    'write_text': 'write_whole',
}
"""Old name -> the name that those modules have for it now."""


class _OldPath(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of :data:`MOVED`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        root, _, old = fullname.partition('.')
        if root != _ROOT or old not in MOVED:
            return None
        is_package = any(other.startswith(old + '.') for other in MOVED)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return types.ModuleType(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        names = [f'{_ROOT}.{new}' for new in MOVED[module.__name__.partition('.')[2]]]
        _warn(module.__name__, names)
        sources = [importlib.import_module(name) for name in names]

        def find(name: str) -> object:
            for source in sources:
                for known in (name, RENAMED.get(name)):
                    if known in vars(source):
                        return vars(source)[known]
            raise AttributeError(f'module {module.__name__!r} has no attribute {name!r}')

        module.__getattr__ = find
        module.__doc__ = f'Moved to {", ".join(names)}.'


def install() -> None:
    """Let imports by old paths find the new modules; a second call does nothing."""
    if not any(isinstance(finder, _OldPath) for finder in sys.meta_path):
        sys.meta_path.append(_OldPath())  # last: a real module of that name wins


def moved_names(package: str, names: dict[str, str]):
    """The ``__getattr__`` of a package that stays, for names that left it.

    Args:
        package: Full name of the package.
        names: Name -> the module below ``mmseg_semi`` that holds it now.
    """

    def find(name: str) -> object:
        if name not in names:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        module = f'{_ROOT}.{names[name]}'
        _warn(f'{package}.{name}', [module])
        return getattr(importlib.import_module(module), name)

    return find


def _warn(old: str, new: Sequence[str]) -> None:
    warnings.warn(
        f'{old} moved to {", ".join(new)}; the old path goes with the next release: change the import',
        DeprecationWarning,
        stacklevel=3,
    )
