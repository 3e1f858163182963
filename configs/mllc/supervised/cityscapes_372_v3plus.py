# The DeepLabV3+ baseline of MLLC: that of FixMatch, DDFP and DGCL, with the network, crops and steps of cityscapes_372_v3plus.py.
_base_ = '../../supervised/cityscapes_372.py'
