# CamVid by clips, 12 labels, the field's baselines in the frame of lite.py, and CCT with its own network:
# python tools/analysis/study.py configs/studies/camvid_clips_12_baselines.py --jobs 2
name = 'camvid_clips_12_baselines'
configs = {
    method: f'configs/{method}/camvid_clips_12_lite0.py'
    for method in (
        'supervised',
        'fixmatch',
        'unimatch',
        'unimatch_v2',
        'cps',
        'augseg',
        'u2pl',
        'cct',
    )
}
configs['u2pl_dgcl'] = 'configs/u2pl/dgcl/camvid_clips_12_lite0.py'
configs['cct_supervised'] = 'configs/cct/supervised/camvid_clips_12_lite0.py'
splits = [f'camvid_clips 12 seed{i}' for i in range(3)]
# few shapes: many processes at once would time the kernels of each other
options = ['env_cfg.cudnn_benchmark=False', 'val_dataloader.batch_size=8']
reference = ['supervised', 'fixmatch']
all_labels = dict(config=configs['supervised'], split='camvid_clips all')
