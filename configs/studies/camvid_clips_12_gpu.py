# The same lists at the full size of the frames, with 5 seeds, for one GPU: 30 runs and the runs with all labels, 16 at a time.
# python tools/analysis/study.py configs/studies/camvid_clips_12_gpu.py --jobs 16
name = 'camvid_clips_12_gpu'
configs = {
    method: f'configs/{method}/camvid_clips_12_lite0.py' for method in ('supervised', 'fixmatch')
}
splits = [f'camvid_clips 12 seed{i}' for i in range(3)]
seeds = [0, 1, 2, 3, 4]
# few shapes: many processes at once would time the kernels of each other
few_shapes = ['env_cfg.cudnn_benchmark=False', 'val_dataloader.batch_size=8']
frame, crop = '(481,353)', '(321,321)'  # sides are 16 m + 1, see camvid_lite.py
options = [
    *few_shapes,
    f'train_dataloader.dataset.labeled.pipeline.2.scale={frame}',
    f'train_dataloader.dataset.labeled.pipeline.3.crop_size={crop}',
    f'val_dataloader.dataset.pipeline.2.scale={frame}',
    f'test_dataloader.dataset.pipeline.2.scale={frame}',
    # a crop has four times as many pixels
    'model.student.decode_head.loss_decode.min_kept=20000',
]
unlabeled = [
    f'train_dataloader.dataset.unlabeled.pipeline.1.scale={frame}',
    f'train_dataloader.dataset.unlabeled.pipeline.3.crop_size={crop}',
]
configs['fixmatch'] = dict(config=configs['fixmatch'], options=unlabeled)
amp = True
test = dict(by_clip=True)
all_labels = dict(config=configs['supervised'], split='camvid_clips all')
keep = False
del few_shapes, frame, crop, unlabeled
