# CamVid by clips, 12 labels: the baselines in the frames of their published configs, and U2PL and DGCL with its negatives in that of
# lite.py, beside supervised and FixMatch: python tools/analysis/study.py configs/studies/camvid_clips_12_published.py --jobs 2
_base_ = './camvid_clips_12_baselines.py'
name = 'camvid_clips_12_published'
configs = dict(
    _delete_=True,
    **{
        method: _base_.configs[method] for method in ('supervised', 'fixmatch', 'u2pl', 'u2pl_dgcl')
    },
    **{
        f'{method}_published': f'configs/{method}/published/camvid_clips_12_lite0.py'
        for method in ('fixmatch', 'unimatch', 'unimatch_v2', 'cps', 'augseg', 'u2pl')
    },
)
options = []
