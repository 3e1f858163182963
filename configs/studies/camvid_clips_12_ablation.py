# What the unlabelled frames need to help, on list seed0 alone: the frame of configs/_base_/recipes/lite.py, and one thing changed,
# first where all pixels have a pseudo-label, then at a threshold: python tools/analysis/study.py configs/studies/camvid_clips_12_ablation.py --jobs 2
name = 'camvid_clips_12_ablation'
configs = {
    method: f'configs/{method}/camvid_clips_12_lite0.py'
    for method in ('supervised', 'fixmatch', 'ddfp', 'dgcl', 'mllc')
}
fixmatch, ddfp, dgcl, mllc = [configs[method] for method in ('fixmatch', 'ddfp', 'dgcl', 'mllc')]
longer = [
    'train_cfg.max_iters=1200',
    'param_scheduler.0.end=1200',
    'train_cfg.val_interval=1200',
    'default_hooks.checkpoint.interval=1200',
]
more_unlabeled = [
    'train_dataloader.batch_size=12',
    'train_dataloader.sampler.batch_size=12',
    'train_dataloader.sampler.source_ratio=[4,8]',
]
cutmix = ['model.mixing.probs=[1.0,0.0]']
weight_1 = ['model.objectives.1.weight.values=[0.0,1.0]']
weak_norms = ['model.running_stats=[labeled,weak]']
changes = dict(
    cutmix=cutmix,
    pasted=['model.mixing.probs=[0.0,1.0]'],
    weight_1=weight_1,
    cutmix_weight_1=[*cutmix, *weight_1],
    early=['model.objectives.1.weight.milestones=[0.5]'],
    late=['model.objectives.1.weight.milestones=[2]'],
    unlabeled_8=more_unlabeled,
    labeled_norms=['model.running_stats=[labeled]'],
    weak_norms=weak_norms,
    joint=['model.forward=joint'],
    teacher_fast=['default_hooks.teacher.momentum=0.03'],
    teacher_slow=['default_hooks.teacher.momentum=0.004'],
    longer=longer,
)
every_pixel, threshold_6, threshold_8 = [
    [f'model.pseudo_label.threshold={value}'] for value in (0.0, 0.6, 0.8)
]
configs |= {
    'supervised_longer': dict(config=configs['supervised'], options=longer),
    'all': dict(config=fixmatch, options=every_pixel),
    'threshold_6': dict(config=fixmatch, options=threshold_6),
    'threshold_8': dict(config=fixmatch, options=threshold_8),
    **{
        f'all_{name}': dict(config=fixmatch, options=[*every_pixel, *options])
        for name, options in changes.items()
    },
    **{
        f'all_{name}': f'configs/fixmatch/ablations/camvid_clips_12_lite0_{name}.py'
        for name in ('softmatch', 'freematch')
    },
    'all_alignment': dict(
        config='configs/fixmatch/ablations/camvid_clips_12_lite0_alignment.py',
        options=['model.pseudo_label.labeller.threshold=0.0'],
    ),
    'all_classmix': dict(
        config='configs/fixmatch/ablations/camvid_clips_12_lite0_classmix.py', options=every_pixel
    ),
    **{
        f'threshold_6_{name}': dict(config=fixmatch, options=[*threshold_6, *options])
        for name, options in dict(
            cutmix=cutmix,
            weight_1=weight_1,
            unlabeled_8=more_unlabeled,
            weak_norms=weak_norms,
            teacher_slow=['default_hooks.teacher.momentum=0.006'],
        ).items()
    },
    'all_ddfp': dict(config=ddfp, options=every_pixel),
    'all_ddfp_eps_1': dict(config=ddfp, options=[*every_pixel, 'model.objectives.2.eps=1.0']),
    'all_ddfp_eps_5': dict(config=ddfp, options=[*every_pixel, 'model.objectives.2.eps=5.0']),
    'all_dgcl': dict(config=dgcl, options=every_pixel),
    'percentile_dgcl': 'configs/dgcl/ablations/camvid_clips_12_lite0_percentile.py',
    'percentile_dgcl_twice': dict(
        config='configs/dgcl/ablations/camvid_clips_12_lite0_percentile.py',
        options=['model.objectives.2.weight.values=[0.0,0.25]'],
    ),
    'all_mllc': dict(config=mllc, options=['model.pseudo_label.label.threshold=0.0']),
    'all_mllc_k0': dict(
        config='configs/mllc/ablations/camvid_clips_12_lite0_k0.py',
        options=['model.pseudo_label.label.threshold=0.0'],
    ),
}
splits = ['camvid_clips 12 seed0']
seeds = [0, 1]
reference = ['supervised', 'all']
all_labels = dict(config=configs['supervised'], split='camvid_clips all')
del fixmatch, ddfp, dgcl, mllc, longer, more_unlabeled, cutmix, weight_1, weak_norms, changes
del every_pixel, threshold_6, threshold_8
