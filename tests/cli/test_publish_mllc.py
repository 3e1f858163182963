"""Publishing MLLC leaves the classifier alone: no embedding, no rounds, no counts, and the same logits."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from tiny_semi import tiny_data, tiny_model

from mmseg_semi.cli import publish


@pytest.mark.parametrize(
    'method, plain', [('mllc', 'DeepLabV3PlusHead'), ('mllc_reference', 'DeepLabV2Head')]
)
def test_only_the_classifier_is_left(tmp_path, method, plain):
    cfg = tiny_data(tmp_path, method)
    model = tiny_model(method, num_classes=11)
    checkpoint = tmp_path / 'run.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta={})), checkpoint)
    out = tmp_path / 'plain'
    publish.main(
        [cfg.filename, str(checkpoint), '--out', str(out)]
    )  # compares the logits bit for bit
    (config,), (weights,) = out.glob('*.py'), out.glob('*.pth')
    published = Config.fromfile(config)
    assert published.model.type == 'EncoderDecoder'
    assert published.model.decode_head.type == plain
    state = torch.load(weights, weights_only=True)['state_dict']
    assert not [key for key in state if 'rounds' in key or 'embedding' in key or 'counts' in key]
    MODELS.build(published.model).load_state_dict(state)
