# FreeMatch's thresholds, which follow the teacher's confidence, instead of labels for all pixels.
_base_ = '../camvid_clips_12_lite0.py'
model = dict(pseudo_label=dict(_delete_=True, type='FreeMatchThreshold'))
