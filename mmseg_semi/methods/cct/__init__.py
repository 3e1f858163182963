"""CCT: cross-consistency training (CVPR 2020); README.md says what is implemented.

``objective.py`` is the method's training step. It uses ``perturbations/`` (seven changes of the
features), ``pixel_shuffle.py`` (decoders), ``consistency.py`` (distances, and their sum over
decoders), ``head.py`` (the network's head) and ``bootstrapped.py`` (an optional supervised loss).
"""

from mmseg_semi.methods.cct.bootstrapped import (
    AnnealedBootstrappedCELoss,
    bootstrapped_cross_entropy,
)
from mmseg_semi.methods.cct.consistency import (
    Term,
    cell_chunks,
    consistency_sums,
    decoder_sums,
    find_distance,
    label_cross_entropy,
)
from mmseg_semi.methods.cct.head import CCTHead
from mmseg_semi.methods.cct.objective import CCTObjective
from mmseg_semi.methods.cct.perturbations import Guidance, build_perturbation
from mmseg_semi.methods.cct.pixel_shuffle import DecoderStack, PixelShuffleDecoder, unshuffle

__all__ = [
    'AnnealedBootstrappedCELoss',
    'CCTHead',
    'CCTObjective',
    'DecoderStack',
    'Guidance',
    'PixelShuffleDecoder',
    'Term',
    'bootstrapped_cross_entropy',
    'build_perturbation',
    'cell_chunks',
    'consistency_sums',
    'decoder_sums',
    'find_distance',
    'label_cross_entropy',
    'unshuffle',
]
