"""Training on several domains with different label sets: one backbone, a head per domain.

``custom_imports = dict(imports=['mmseg_semi', 'projects.multi_domain'])`` registers everything
below into MMSegmentation's registries; the tools of this repository find the package from any
working directory.
"""

import mmseg_semi  # noqa: F401  (first: it adapts the stack that the modules below import)

# isort: split
from projects.multi_domain.data import MultiDomainDataset, MultiDomainSampler, domain_collate
from projects.multi_domain.evaluation import MultiDomainTestLoop, MultiDomainValLoop
from projects.multi_domain.hooks import DomainPseudoLabelHook, DomainStepHook
from projects.multi_domain.recipe import domain, join
from projects.multi_domain.segmentor import (
    MultiDomainDistributedDataParallel,
    MultiDomainSegmentor,
)
from projects.multi_domain.turns import Turns, in_domain

__all__ = [
    'DomainPseudoLabelHook',
    'DomainStepHook',
    'MultiDomainDataset',
    'MultiDomainDistributedDataParallel',
    'MultiDomainSampler',
    'MultiDomainSegmentor',
    'MultiDomainTestLoop',
    'MultiDomainValLoop',
    'Turns',
    'domain',
    'domain_collate',
    'in_domain',
    'join',
]
