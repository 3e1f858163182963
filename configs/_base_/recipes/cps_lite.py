# Cross pseudo supervision in the frame of lite.py: two students take the place of the averaged teacher, whose threshold, mixing
# and weight they have.
_base_ = './fixmatch_lite.py'
model = dict(
    peer=True,
    teacher=dict(_delete_=True, weights='student', mode='eval', rows='weak'),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(_base_.self_training, name='cross'),
    ],
)
