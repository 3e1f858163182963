# VOC classic (CPS): unlabelled images are the rest of the 1,464 only, 732 labelled images; as many iterations as voc_732.
_base_ = './voc_732.py'
split = 'data/splits/cps/voc/732'
train_dataloader = dict(
    dataset=dict(
        protocol='voc classic (cps) 732',
        allow_overlap=True,  # as published: one image is labelled and unlabelled
        labeled=dict(ann_file=f'{split}/labeled.txt'),
        unlabeled=dict(ann_file=f'{split}/unlabeled.txt'),
    )
)
