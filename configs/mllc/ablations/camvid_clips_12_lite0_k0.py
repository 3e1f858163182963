# Control: no round of label correction; the features are contrasted, nothing is corrected.
_base_ = '../camvid_clips_12_lite0.py'
model = dict(student=dict(decode_head=dict(rounds=0)))
