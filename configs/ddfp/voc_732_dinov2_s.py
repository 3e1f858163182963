# VOC classic, 732 labelled images, UPerNet on DINOv2 ViT-S/14: FixMatch and the density-descending perturbation, which moves
# the input of UPerHead's classifier (docs/backbones.md).
_base_ = ['../fixmatch/voc_732_dinov2_s.py', '../_base_/recipes/ddfp.py']
model = dict(objectives=_base_.ddfp.objectives)
default_hooks = dict(flow=dict(_base_.flow, epochs=60))
