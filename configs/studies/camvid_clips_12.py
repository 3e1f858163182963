# CamVid by clips, 12 labels: labels from one clip, evaluation on other clips (configs/splits/camvid_clips). 3 lists x 2 seeds of
# every method and its control, and the run with all labels: python tools/analysis/study.py configs/studies/camvid_clips_12.py --jobs 2
name = 'camvid_clips_12'
configs = {
    method: f'configs/{method}/camvid_clips_12_lite0.py'
    for method in ('supervised', 'fixmatch', 'ddfp', 'dgcl', 'mllc', 'combined', 'cct')
}
# DDFP in a random direction, MLLC without rounds of correction, CCT's network with labels alone
configs['ddfp_random'] = 'configs/ddfp/ablations/camvid_clips_12_lite0_random.py'
configs['mllc_k0'] = 'configs/mllc/ablations/camvid_clips_12_lite0_k0.py'
configs['cct_supervised'] = 'configs/cct/supervised/camvid_clips_12_lite0.py'
# the three levels of MLLC together with the weight of FixMatch's one
configs['mllc_third'] = dict(config=configs['mllc'], options=['model.objectives.1.w_clg=0.1667'])
splits = [f'camvid_clips 12 seed{i}' for i in range(3)]
seeds = [0, 1]
test = dict(pool=True, by_clip=True)
reference = ['supervised', 'fixmatch']
all_labels = dict(config=configs['supervised'], split='camvid_clips all')
