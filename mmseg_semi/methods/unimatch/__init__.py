"""UniMatch, V1 and V2: two strong views and dropped channels; README.md says what is implemented.

The methods are recipes of ``SelfTrainingObjective`` over several views; new are the views of features
in ``channel_dropout.py``. A box of CutMix for each image is ``CutMix(coin='image')`` of ``step/mixing.py``.
"""

from mmseg_semi.methods.unimatch.channel_dropout import (
    ChannelDropout,
    ComplementaryChannelDropout,
    complementary_masks,
)

__all__ = ['ChannelDropout', 'ComplementaryChannelDropout', 'complementary_masks']
