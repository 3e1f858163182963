# CamVid, 46 labels, its val alone: python tools/analysis/study.py configs/studies/camvid_46.py --jobs 2
_base_ = './camvid_12.py'
name = 'camvid_46'
configs = {method: path.replace('_12_', '_46_') for method, path in _base_.configs.items()}
splits = [split.replace('12', '46') for split in _base_.splits]
test = dict(_delete_=True)
