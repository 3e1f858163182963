# No round of label correction: the features are contrasted, nothing is corrected.
_base_ = '../camvid_46_small.py'
model = dict(student=dict(decode_head=dict(rounds=0)))
