# PASCAL VOC 2012 with 2 + 2 images a GPU.
_base_ = './voc.py'
batch_size_labeled = 2  # images a GPU
batch_size_unlabeled = 2
train_dataloader = dict(
    batch_size=batch_size_labeled + batch_size_unlabeled,
    sampler=dict(
        batch_size=batch_size_labeled + batch_size_unlabeled,
        source_ratio=[batch_size_labeled, batch_size_unlabeled],
    ),
)
