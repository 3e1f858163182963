# Labels alone; the data set's config leaves out the unlabelled images (labeled_only).
_base_ = ['../models/deeplabv3plus_lite0.py', '../schedules/lite.py']
model = dict(iters_per_epoch=_base_.epoch)
