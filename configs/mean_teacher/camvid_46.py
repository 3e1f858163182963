# Mean Teacher with hard labels: FixMatch's recipe without threshold, mixing and phases; the averaged teacher labels every
# pixel of the weak view, and the student's weight on it grows over the first tenth of the run.
_base_ = '../fixmatch/camvid_46.py'
model = dict(
    pseudo_label=dict(threshold=0.0),
    mixing=None,
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Ramp', value=1.0, length=4, kind='sigmoid'),
        ),
    ],
    teacher=dict(start=0),
)
