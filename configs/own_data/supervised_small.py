# Labelled images of own folders alone, from scratch, as long as ddfp_small.py trains: what do the unlabelled images add?
_base_ = [
    '../_base_/models/deeplabv3plus_small.py',
    '../_base_/datasets/own_data_small.py',
    '../_base_/schedules/own_data_small.py',
]
model = dict(iters_per_epoch=_base_.epoch, student=dict(decode_head=dict(num_classes=2)))
train_dataloader = _base_.labeled_only
