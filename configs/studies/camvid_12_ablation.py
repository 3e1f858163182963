# What FixMatch needs where it has nothing to gain, CamVid's val, on list seed0 alone:
# python tools/analysis/study.py configs/studies/camvid_12_ablation.py --jobs 2
name = 'camvid_12_ablation'
fixmatch = 'configs/fixmatch/camvid_12_lite0.py'
configs = dict(
    supervised='configs/supervised/camvid_12_lite0.py',
    fixmatch=fixmatch,
    alignment='configs/fixmatch/ablations/camvid_12_lite0_alignment.py',
    weight_quarter=dict(config=fixmatch, options=['model.objectives.1.weight.values=[0.0,0.25]']),
)
splits = ['camvid 12 seed0']
all_labels = dict(config='configs/supervised/camvid_all_lite0.py', split='camvid all')
del fixmatch
