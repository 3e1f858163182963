# CamVid, 46 labels, its val: the baselines in the frames of their published configs, beside supervised and FixMatch in that of
# lite.py: python tools/analysis/study.py configs/studies/camvid_46_published.py --jobs 2
_base_ = './camvid_46_baselines.py'
name = 'camvid_46_published'
configs = dict(
    _delete_=True,
    **{method: _base_.configs[method] for method in ('supervised', 'fixmatch')},
    **{
        f'{method}_published': f'configs/{method}/published/camvid_46_lite0.py'
        for method in ('fixmatch', 'unimatch', 'unimatch_v2', 'cps', 'augseg', 'u2pl')
    },
)
