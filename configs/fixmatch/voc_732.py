# VOC classic, 732 labelled images.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/voc.py',
    '../_base_/schedules/voc.py',
    '../_base_/recipes/fixmatch.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(split='voc classic 732'))
model = dict(iters_per_epoch=615, **_base_.fixmatch)
