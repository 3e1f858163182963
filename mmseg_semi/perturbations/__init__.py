"""Perturbations of features: pure functions, and registered modules over CCT's seven."""

from .adversarial import class_space_perturbation, virtual_adversarial_perturbation
from .density_descending import density_descending_direction, random_direction
from .draws import ChannelFactor, Draw, ElementFactor, RowSpaceShift, SpatialMask
from .features import (
    channel_dropout,
    drop_active,
    element_dropout,
    feature_drop,
    feature_noise,
)
from .guided import Boxes, Guidance, cut_boxes, object_boxes
from .modules import (
    ContextMask,
    FeatureDrop,
    FeatureDropout,
    FeatureNoise,
    FeaturePerturbation,
    GuidedCutout,
    ObjectMask,
    VirtualAdversarial,
    build_perturbation,
)

__all__ = [
    'Boxes',
    'ChannelFactor',
    'ContextMask',
    'Draw',
    'ElementFactor',
    'FeatureDrop',
    'FeatureDropout',
    'FeatureNoise',
    'FeaturePerturbation',
    'Guidance',
    'GuidedCutout',
    'ObjectMask',
    'RowSpaceShift',
    'SpatialMask',
    'VirtualAdversarial',
    'build_perturbation',
    'channel_dropout',
    'class_space_perturbation',
    'cut_boxes',
    'density_descending_direction',
    'drop_active',
    'element_dropout',
    'feature_drop',
    'feature_noise',
    'object_boxes',
    'random_direction',
    'virtual_adversarial_perturbation',
]
