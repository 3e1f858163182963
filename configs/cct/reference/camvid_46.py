# What the authors' code computes, on CamVid: every class but the first is an object, an adversarial step too short for
# float32, biases that differ within a pixel shuffle, padding compared like pixels.
_base_ = ['../camvid_46.py', '../../_base_/recipes/cct_reference.py']
ramp = dict(type='Ramp', value=30.0, length=4, kind='sigmoid', start=1)
model = dict(
    student=dict(decode_head=dict(bias_init='uniform')),
    objectives=[dict(type='SupervisedObjective'), dict(_base_.cct_reference, weight=ramp)],
)
