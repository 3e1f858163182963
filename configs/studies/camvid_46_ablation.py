# Twice the steps, where 46 labels suffice, on list seed0 alone: CamVid's val with 46 labels,
# python tools/analysis/study.py configs/studies/camvid_46_ablation.py --jobs 2
_base_ = './camvid_46.py'
name = 'camvid_46_ablation'
longer = [
    'train_cfg.max_iters=1200',
    'param_scheduler.0.end=1200',
    'train_cfg.val_interval=1200',
    'default_hooks.checkpoint.interval=1200',
]
configs = dict(
    _delete_=True,
    **{
        f'{method}_longer': dict(config=config, options=longer)
        for method, config in _base_.configs.items()
    },
)
splits = ['camvid 46 seed0']
seeds = [0]
reference = 'supervised_longer'
del longer
