# CCT on CamVid (46 labelled frames, 11 classes) and generated scenes (8 labelled, 6 classes), on a CPU.
_base_ = '_base_/cpu_run.py'
from projects.multi_domain.recipe import domain, join  # noqa: E402  (_base_ first, or it is no text config)

globals().update(
    join(
        domain('camvid', 'projects/multi_domain/configs/single/cct_camvid.py'),
        domain('scenes', 'projects/multi_domain/configs/single/cct_scenes.py'),
        # CCT's encoder ends behind the pyramid pooling
        share=('backbone', 'decode_head.psp_modules', 'decode_head.bottleneck'),
    )
)
