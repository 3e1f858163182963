# SoftMatch's weights by confidence, instead of equal ones.
_base_ = '../camvid_clips_12_lite0.py'
model = dict(pseudo_label=dict(_delete_=True, type='SoftMatchWeight'))
