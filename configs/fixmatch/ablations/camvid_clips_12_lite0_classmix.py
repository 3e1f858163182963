# ClassMix of predicted classes instead of boxes and labelled pixels.
_base_ = '../camvid_clips_12_lite0.py'
model = dict(mixing=dict(_delete_=True, type='ClassMix'))
