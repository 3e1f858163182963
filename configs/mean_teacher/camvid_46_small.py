# Mean Teacher with hard labels: FixMatch's recipe without threshold, mixing and phases; the averaged teacher labels every
# pixel of the weak view, and the student's weight on it grows over the first tenth of the run.
_base_ = '../fixmatch/camvid_46_small.py'
ramp = dict(type='Ramp', value=1.0, length=2, kind='sigmoid')
model = dict(
    teacher=dict(start=0),
    pseudo_label=dict(threshold=0.0),
    mixing=None,
    objectives=[_base_.model.objectives[0], dict(_base_.model.objectives[1], weight=ramp)],
)
