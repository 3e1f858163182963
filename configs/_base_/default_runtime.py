# What every run shares: seed, devices, log, hooks, pictures, test-time augmentation.
default_scope = 'mmseg'
custom_imports = dict(imports=['mmseg_semi'], allow_failed_imports=False)
randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='ProgressHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook',
        by_epoch=False,
        interval=2000,
        max_keep_ckpts=2,
        save_best='mIoU',  # of the network that predicts
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
    step=dict(type='SemiStepHook'),  # checks, time and randomness, objectives' updates
    teacher=dict(type='MeanTeacherHook', momentum=0.001),
    class_shares=dict(type='ClassShareHook'),  # names classes that the pseudo-labels lose
    record=dict(type='RunRecordHook'),  # refuses to resume as another experiment
    trackers=dict(type='TrackersHook'),  # TensorBoard, W&B and others: --resume continues their run
    results=dict(type='ResultsHook'),  # last and best of student and teacher
    report=dict(type='ReportHook'),  # report.html at every validation; None switches it off
)
val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict(type='TeacherStudentTestLoop')
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False

# for tools/test.py --tta; the data set's base config has the tta_pipeline
tta_model = dict(type='SegTTAModel')
