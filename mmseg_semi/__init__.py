"""Semi-supervised semantic segmentation for MMSegmentation.

``custom_imports = dict(imports=['mmseg_semi'])`` in a config registers everything below into
MMSegmentation's own registries. The order matters: the stack is checked and adapted before any
module of ours imports it.
"""

__version__ = '0.1.0'

from mmseg_semi import stack

stack.check_distributions()
stack.apply()

from mmseg_semi import (  # noqa: E402
    backbones,
    datasets,
    evaluation,
    heads,
    hooks,
    losses,
    mixing,
    objectives,
    optim,
    pseudo_labels,
    segmentors,
)

__all__ = [
    '__version__',
    'backbones',
    'datasets',
    'evaluation',
    'heads',
    'hooks',
    'losses',
    'mixing',
    'objectives',
    'optim',
    'pseudo_labels',
    'segmentors',
]
