# A heterogeneous pair: DeepLabV3+ on EfficientNet-Lite0 and SegFormer-B0, which begins from scratch, label for each other.
_base_ = ['./camvid_46_lite0.py', '../_base_/models/mit_b0_segformer.py']
head = dict(
    _base_.segformer_b0.decode_head,
    loss_decode=dict(type='OHEMCrossEntropyLoss', threshold=0.7, min_kept=5000),
)
model = dict(
    peer=dict(
        _base_.segformer_b0,
        _delete_=True,
        type='EncoderDecoder',
        decode_head=head,
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
)
del head
