# What the authors' code computes, on CamVid: the student in train mode labels its own weak views, one bank for the features of
# all levels, a class-level graph gated by the permuted class map, no contrast within an image, padding and void take part in
# graphs and counts, labels at the nodes by plain nearest.
_base_ = '../camvid_46.py'
model = dict(
    student=dict(decode_head=dict(graph=dict(clg_gate='permuted'))),
    teacher=dict(weights='student', mode='train', rows='weak'),
    pseudo_label=dict(pad_mask=False, label_grid='nearest'),
    forward='stream',
    objectives=[
        dict(type='SupervisedObjective'),
        dict(type='MLLCObjective', inter_start=4, w_intra=0.0, banks='shared'),
    ],
)
