"""What ``--measure plain`` compares a supervised config with."""

from mmseg.registry import HOOKS
from shipped import ROOT, shipped

from mmseg_semi.cli.benchmark.training_step import plain_config


def test_plain_mmsegmentation_has_no_hook_of_this_package():
    cfg = shipped(ROOT / 'configs/supervised/camvid_46_small.py')
    plain = plain_config(cfg, (64, 64))
    assert plain.model.type == 'EncoderDecoder' and 'class_shares' in cfg.default_hooks
    kept = {name: HOOKS.get(hook.type).__module__ for name, hook in plain.default_hooks.items()}
    assert {'timer', 'param_scheduler'} <= kept.keys()
    assert not [name for name, module in kept.items() if module.startswith('mmseg_semi')]
