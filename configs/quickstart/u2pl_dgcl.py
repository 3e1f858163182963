# DGCL's anchors with U2PL's negatives on the demo's scenes.
_base_ = './dgcl.py'
unreliable = dict(
    type='DGCLUnreliableObjective',
    unreliable=dict(type='Line', values=(20.0, 0.0), times=(0, 32), whole=True),
    low_rank=2,
    queue_size=1000,
    keys_per_step=100,
)
model = dict(
    objectives=[*_base_.model.objectives[:2], dict(_base_.model.objectives[2], **unreliable)]
)
