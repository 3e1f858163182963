# VOC classic, 732 labelled images: the student labels in training mode, labelled and weak images in one batch, as the script does
# where no box is pasted.
_base_ = '../voc_732.py'
model = dict(teacher=dict(mode='train', rows='labeled+weak'))
