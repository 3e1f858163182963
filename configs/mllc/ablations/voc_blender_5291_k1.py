_base_ = '../voc_blender_5291.py'
model = dict(student=dict(decode_head=dict(rounds=1)))
