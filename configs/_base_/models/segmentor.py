# What surrounds every student: ImageNet's normalisation of images, inference on whole images, and the supervised loss alone.
# Methods replace `objectives` and add teacher, pseudo_label and mixing.
norm_cfg = dict(type='SyncBN', requires_grad=True)  # plain BN in a run of one process
model = dict(
    type='SemiSegmentor',
    data_preprocessor=dict(
        type='SemiDataPreprocessor',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            pad_val=0,
            seg_pad_val=255,
        ),
    ),
    student=dict(type='EncoderDecoder', train_cfg=dict(), test_cfg=dict(mode='whole')),
    objectives=[dict(type='SupervisedObjective')],
)
