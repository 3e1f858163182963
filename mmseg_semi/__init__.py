"""Semi-supervised semantic segmentation for MMSegmentation.

``custom_imports = dict(imports=['mmseg_semi'])`` in a config registers everything below into
MMSegmentation's own registries. The order matters: the stack is checked and adapted before any
module of ours imports it.
"""

__version__ = '0.2.0'

from mmseg_semi.runtime import interrupts

interrupts.quiet_imports_of_commands()

# behind it: what follows imports PyTorch, for seconds
from mmseg_semi import _moved  # noqa: E402
from mmseg_semi.runtime import stack  # noqa: E402

stack.check_distributions()
stack.apply()
_moved.install()

from mmseg_semi import backbones, data, heads, methods, step  # noqa: E402
from mmseg_semi.runtime import (  # noqa: E402
    band_pictures,
    checkpoint_hook,
    early_stopping,
    loops,
    optimisers,
    package_weights,
    progress,
    pseudo_label_hook,
    report,
    results,
    run_record,
    trackers,
)

__all__ = [
    '__version__',
    'backbones',
    'band_pictures',
    'checkpoint_hook',
    'data',
    'early_stopping',
    'heads',
    'loops',
    'methods',
    'optimisers',
    'package_weights',
    'progress',
    'pseudo_label_hook',
    'report',
    'results',
    'run_record',
    'step',
    'trackers',
]
