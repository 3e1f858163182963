# Control: the same self-training on entropy percentiles without the contrast.
_base_ = '../camvid_clips_12_lite0.py'
model = dict(objectives=_base_.model.objectives[:2])
