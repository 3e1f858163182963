# The methods on CamVid by clips, 12 labels, for one GPU with 16 processor cores: 3 lists x 2 seeds, scores of the 82 test frames
# alone: python tools/analysis/study.py configs/studies/camvid_clips_12_methods.py --jobs 18
name = 'camvid_clips_12_methods'
configs = {
    method: f'configs/{method}/camvid_clips_12_lite0.py'
    for method in ('dgcl', 'mllc', 'fixmatch', 'supervised', 'ddfp')
}
configs['ddfp_random'] = 'configs/ddfp/ablations/camvid_clips_12_lite0_random.py'
splits = [f'camvid_clips 12 seed{i}' for i in range(3)]
seeds = [0, 1]
# the shapes are few, and 18 processes at once would time the kernels of each other
options = ['env_cfg.cudnn_benchmark=False', 'val_dataloader.batch_size=8']
reference = ['supervised', 'fixmatch']
all_labels = dict(config=configs['supervised'], split='camvid_clips all')
