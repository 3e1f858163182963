# Cross pseudo supervision on the demo's scenes, in FixMatch's frame there.
_base_ = './fixmatch.py'
model = dict(
    peer=True,
    teacher=dict(_delete_=True, weights='student', mode='eval', rows='weak'),
)
