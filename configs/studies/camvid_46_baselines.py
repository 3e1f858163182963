# CamVid, 46 labels, its val: the field's baselines in the frame of lite.py: python tools/analysis/study.py
# configs/studies/camvid_46_baselines.py --jobs 2
_base_ = './camvid_46.py'
name = 'camvid_46_baselines'
configs = {
    method: f'configs/{method}/camvid_46_lite0.py'
    for method in ('supervised', 'fixmatch', 'u2pl', 'unimatch', 'unimatch_v2', 'cps', 'augseg')
}
seeds = [0]
reference = ['supervised', 'fixmatch']
