# CCT as the authors' code computes it: an adversarial step too short for float32, biases that differ within a pixel shuffle,
# padding compared like pixels.
cct_reference = dict(
    type='CCTObjective',
    perturbations=[
        dict(type='VirtualAdversarial', count=2, xi=1e-6, eps=2.0, guard=1e-8),
        dict(type='FeatureDropout', count=6, p=0.5),
        dict(type='GuidedCutout', count=6, erase_side=0.4),
        dict(type='ContextMask', count=2),
        dict(type='ObjectMask', count=2),
        dict(type='FeatureDrop', count=6, low=0.7, high=0.9),
        dict(type='FeatureNoise', count=6, uniform_range=0.3),
    ],
    bias_init='uniform',
    compare_padding=True,
)
