# cct_camvid_scenes_small.py with alternating domains, each with its own running statistics. Every domain has as many steps
# as there, and the optimiser as many as in two separate runs.
_base_ = '_base_/cpu_run.py'
from projects.multi_domain.recipe import domain, join  # noqa: E402  (_base_ first, or it is no text config)

train_cfg = dict(max_iters=1200, val_interval=600)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=1200, by_epoch=False)]

globals().update(
    join(
        domain('camvid', 'projects/multi_domain/configs/single/cct_camvid.py'),
        domain('scenes', 'projects/multi_domain/configs/single/cct_scenes.py'),
        # CCT's encoder ends behind the pyramid pooling
        share=('backbone', 'decode_head.psp_modules', 'decode_head.bottleneck'),
        schedule='alternate',
        separate_statistics=True,
    )
)
