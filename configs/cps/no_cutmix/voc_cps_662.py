# VOC blender (CPS lists), 662 labelled images, without CutMix: the students learn each other's predictions on labelled images, too.
_base_ = '../voc_cps_662.py'
model = dict(**_base_.cps_plain)
