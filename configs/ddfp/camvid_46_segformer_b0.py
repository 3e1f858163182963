# CamVid from scratch, 46 labelled frames, SegFormer-B0: FixMatch and the density-descending perturbation, which moves the
# input of SegformerHead's classifier (docs/backbones.md).
_base_ = ['../fixmatch/camvid_46_segformer_b0.py', '../_base_/recipes/ddfp.py']
model = dict(objectives=_base_.ddfp.objectives)
default_hooks = dict(flow=dict(_base_.flow, epochs=40))
