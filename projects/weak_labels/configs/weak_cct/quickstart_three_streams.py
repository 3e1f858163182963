# Three kinds of images a step: 4 with masks, 2 with weak masks, 2 with nothing; every other unlabelled scene has a weak mask.
_base_ = './quickstart.py'
source = dict(
    type='QuickstartDataset',
    data_root='data/quickstart/',
    data_prefix=dict(img_path='images/train'),
    ann_file='unlabeled.txt',
)
weak_pipeline = _base_.unlabeled_pipeline
plain_pipeline = [step for step in weak_pipeline if step['type'] != 'LoadWeakMask']
train_dataloader = dict(
    sampler=dict(source_ratio=[4, 2, 2]),
    dataset=dict(
        separate=True,
        unlabeled=[
            dict(**source, indices=list(range(0, 240, 2)), pipeline=weak_pipeline),
            dict(**source, indices=list(range(1, 240, 2)), pipeline=plain_pipeline),
        ],
    ),
)
