# SegFormer-B0 from scratch: MMSegmentation's own backbone and head as the student. Weights that it distributes, for
# instance https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth, go into
# backbone.init_cfg=dict(type='Pretrained', checkpoint=...).
_base_ = ['./segmentor.py', './mit_b0_segformer.py']
model = dict(student=_base_.segformer_b0)
