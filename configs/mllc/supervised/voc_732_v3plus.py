# The DeepLabV3+ baseline of MLLC: that of FixMatch, DDFP and DGCL, with the network, crops and steps of voc_732_v3plus.py.
_base_ = '../../supervised/voc_732.py'
