# CamVid by clips, 12 labels: U2PL, and DGCL with its negatives, beside supervised and FixMatch:
# python tools/analysis/study.py configs/studies/camvid_clips_12_u2pl.py --jobs 2
_base_ = './camvid_clips_12_baselines.py'
name = 'camvid_clips_12_u2pl'
configs = dict(
    _delete_=True,
    **{
        method: _base_.configs[method] for method in ('supervised', 'fixmatch', 'u2pl', 'u2pl_dgcl')
    },
)
options = []
