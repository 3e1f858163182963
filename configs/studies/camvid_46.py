# CamVid, 46 labels, evaluated on its val (a clip that is also in train) and on the unlabelled frames of all clips:
# python tools/analysis/study.py configs/studies/camvid_46.py --jobs 2
name = 'camvid_46'
configs = {
    method: f'configs/{method}/camvid_46_lite0.py'
    for method in ('supervised', 'fixmatch', 'ddfp', 'dgcl', 'mllc')
}
splits = [f'camvid 46 seed{i}' for i in range(3)]
seeds = [0, 1]
test = dict(pool=True, by_clip=True)
reference = ['supervised', 'fixmatch']
all_labels = dict(config='configs/supervised/camvid_all_lite0.py', split='camvid all')
