# CamVid, 12 labels of one drive, evaluated on another: the other methods beside supervised and FixMatch:
# python tools/analysis/study.py configs/studies/camvid_drive_12_methods.py --jobs 2
_base_ = './camvid_drive_12.py'
name = 'camvid_drive_12_methods'
configs = {
    method: f'configs/{method}/camvid_12_lite0.py'
    for method in (
        *('supervised', 'fixmatch', 'ddfp', 'combined', 'unimatch_v2', 'cps', 'dgcl', 'augseg'),
        *('u2pl', 'mllc', 'unimatch'),
    )
}
test = dict(_delete_=True)
reference = ['supervised', 'fixmatch']
