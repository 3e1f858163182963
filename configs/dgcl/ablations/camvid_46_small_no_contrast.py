# Control: the same self-training on entropy percentiles without the contrast, which shows what the contrast adds. Weak views,
# of which the contrast alone learns, do not pass the student, so its batch norms do not see them either.
_base_ = '../camvid_46_small.py'
model = dict(
    # the same head without its projection: nothing would train it
    student=dict(decode_head=dict(projection=False)),
    objectives=[
        dict(type='SupervisedObjective'),
        dict(
            type='SelfTrainingObjective',
            divisor='valid',
            weight=dict(type='Steps', values=[0.0, 0.5], milestones=[8]),
        ),
    ],
)
