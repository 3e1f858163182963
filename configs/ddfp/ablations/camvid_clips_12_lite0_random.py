# Control: features are moved by the same length in a random direction instead of down the density.
_base_ = '../camvid_clips_12_lite0.py'
model = dict(
    objectives=[
        *_base_.model.objectives[:2],
        dict(_base_.model.objectives[2], direction='random'),
    ],
)
