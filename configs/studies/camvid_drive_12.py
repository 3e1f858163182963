# CamVid, 12 labels of one drive, all other training frames unlabelled, evaluated on the val of another drive (configs/splits/camvid_drive):
# python tools/analysis/study.py configs/studies/camvid_drive_12.py --jobs 2
_base_ = './camvid_12.py'
name = 'camvid_drive_12'
splits = [f'camvid_drive 12 seed{i}' for i in range(3)]
seeds = [0]
