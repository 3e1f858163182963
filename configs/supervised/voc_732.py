# VOC classic, 732 labelled images: the same steps as the semi-supervised runs, without their unlabelled images.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/voc.py',
    '../_base_/schedules/voc.py',
    '../_base_/default_runtime.py',
]
model = dict(iters_per_epoch=615)
train_dataloader = dict(
    batch_size=4,
    sampler=dict(batch_size=4, source_ratio=[1]),
    dataset=dict(split='voc classic 732', unlabeled=None),
)
