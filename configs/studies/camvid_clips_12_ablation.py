# What the unlabelled frames need to help, on list seed0 alone: length, weight and mixing of FixMatch in the frame of
# configs/_base_/recipes/lite.py: python tools/analysis/study.py configs/studies/camvid_clips_12_ablation.py --jobs 2
name = 'camvid_clips_12_ablation'
supervised = 'configs/supervised/camvid_clips_12_lite0.py'
fixmatch = 'configs/fixmatch/camvid_clips_12_lite0.py'
longer = ['train_cfg.max_iters=1200', 'param_scheduler.0.end=1200']
configs = dict(
    supervised=supervised,
    supervised_1200=dict(config=supervised, options=longer),
    fixmatch=fixmatch,
    fixmatch_1200=dict(config=fixmatch, options=longer),
    fixmatch_weight_1=dict(config=fixmatch, options=['model.objectives.1.weight.values=[0.0,1.0]']),
    fixmatch_cutmix=dict(config=fixmatch, options=['model.mixing.probs=[1.0,0.0]']),
    fixmatch_pasted=dict(config=fixmatch, options=['model.mixing.probs=[0.0,1.0]']),
    fixmatch_late=dict(config=fixmatch, options=['model.objectives.1.weight.milestones=[2]']),
)
splits = ['camvid_clips 12 seed0']
seeds = [0]
test = dict(pool=True, by_clip=True)
all_labels = dict(config=supervised, split='camvid_clips all')
del supervised, fixmatch, longer
