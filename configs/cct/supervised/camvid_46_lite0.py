# The network of configs/cct/camvid_46_lite0.py from its labelled images alone, in as many iterations.
_base_ = '../camvid_46_lite0.py'
model = dict(objectives=[dict(type='SupervisedObjective')])
train_dataloader = _base_.labeled_only
