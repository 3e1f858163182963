"""CCT's seven perturbations of features, as functions and as registered modules.

``features.py`` needs the features alone, ``guided.py`` the prediction, ``adversarial.py`` a
decoder. Each draws for K decoders at once (``draws.py``). ``modules.py`` registers the seven.
"""

from mmseg_semi.methods.cct.perturbations.adversarial import (
    class_space_perturbation,
    virtual_adversarial_perturbation,
)
from mmseg_semi.methods.cct.perturbations.draws import (
    ChannelFactor,
    Draw,
    ElementFactor,
    RowSpaceShift,
    SpatialMask,
)
from mmseg_semi.methods.cct.perturbations.features import (
    channel_dropout,
    drop_active,
    element_dropout,
    feature_drop,
    feature_noise,
)
from mmseg_semi.methods.cct.perturbations.guided import Boxes, Guidance, cut_boxes, object_boxes
from mmseg_semi.methods.cct.perturbations.modules import (
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
    'drop_active',
    'element_dropout',
    'feature_drop',
    'feature_noise',
    'object_boxes',
    'virtual_adversarial_perturbation',
]
