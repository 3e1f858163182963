# One round of label correction instead of two.
_base_ = '../camvid_46_small.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
