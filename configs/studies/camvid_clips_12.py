# CamVid by clips, 12 labels: labels from one clip, evaluation on other clips (configs/splits/camvid_clips). 3 lists x 2 seeds x 6
# methods and the run with all labels: python tools/analysis/study.py configs/studies/camvid_clips_12.py --jobs 2
name = 'camvid_clips_12'
methods = ('supervised', 'fixmatch', 'ddfp', 'dgcl', 'mllc', 'cct')
configs = {method: f'configs/{method}/camvid_clips_12_lite0.py' for method in methods}
del methods
splits = [f'camvid_clips 12 seed{i}' for i in range(3)]
seeds = [0, 1]
test = dict(pool=True, by_clip=True)
reference = ['supervised', 'fixmatch']
all_labels = dict(config=configs['supervised'], split='camvid_clips all')
