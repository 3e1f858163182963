# CamVid, 12 labels, evaluated on its val (a clip that is also in train) and on the unlabelled frames of all clips:
# python tools/analysis/study.py configs/studies/camvid_12.py --jobs 2
name = 'camvid_12'
configs = {method: f'configs/{method}/camvid_12_lite0.py' for method in ('fixmatch', 'supervised')}
splits = [f'camvid 12 seed{i}' for i in range(3)]
seeds = [0, 1]
# few shapes: many processes at once would time the kernels of each other
options = ['env_cfg.cudnn_benchmark=False', 'val_dataloader.batch_size=8']
test = dict(pool=True, by_clip=True)
reference = ['supervised']
all_labels = dict(config='configs/supervised/camvid_all_lite0.py', split='camvid all')
