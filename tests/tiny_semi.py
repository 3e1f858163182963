"""Networks, recipes and data small enough for a test: a training step takes tens of milliseconds.

``tiny_student`` and ``tiny_recipe`` return model configs, ``tiny_batch`` a training batch without files,
``tiny_data`` writes a folder of pictures and the config file of a whole run on it, which ``Runner``
(through ``tiny_runner``) and ``tools/train.py`` take.
"""

import copy
import itertools
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image

import mmseg_semi  # noqa: F401  (registers)
from mmseg_semi.methods.ddfp.hook import FlowEstimatorHook
from mmseg_semi.runtime import configs
from mmseg_semi.step.hooks import MeanTeacherHook

CROP = 32
CHANNELS = (8, 16, 32, 64)
"""Channels of the backbone's four outputs, at strides 4, 8, 16 and 16."""
ITERS_PER_EPOCH = 2
"""Unit of time of the recipes: labels only in epoch 0, self-training from 1, the perturbation from 2."""
METHODS = (
    *('supervised', 'fixmatch', 'ddfp', 'ddfp_reference', 'dgcl', 'ddfp_dgcl', 'cct', 'mllc'),
    *('unimatch', 'unimatch_v2', 'cps', 'u2pl', 'u2pl_dgcl'),
)
_SPLIT_METHODS = ('ddfp', 'ddfp_reference', 'ddfp_dgcl')
_runs = itertools.count()


def tiny_backbone(norm: str = 'BN', stride: int = 16) -> dict:
    """ResNet-18 with 8 base channels, output stride 16 or 8."""
    return dict(
        type='ResNetV1c',
        depth=18,
        base_channels=8,
        stem_channels=8,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 2, 1) if stride == 16 else (1, 2, 1, 1),
        dilations=(1, 1, 1, 2) if stride == 16 else (1, 1, 2, 4),
        contract_dilation=True,
        norm_cfg=tiny_norm(norm),
        norm_eval=False,
        style='pytorch',
    )


def tiny_norm(norm: str) -> dict:
    """Config of a norm layer, 'BN' or 'GN' (which sees one image at a time)."""
    return dict(type='GN', num_groups=4) if norm == 'GN' else dict(type=norm, requires_grad=True)


def tiny_head(
    head: str = 'DeepLabV3PlusHead',
    num_classes: int = 3,
    norm: str = 'BN',
    dropout: float = 0.1,
    **changes,
) -> dict:
    """Decode head on :func:`tiny_backbone`; ``changes`` replace keys of it."""
    config = dict(
        type=head,
        num_classes=num_classes,
        dropout_ratio=dropout,
        norm_cfg=tiny_norm(norm),
        channels=16,
        align_corners=head != 'CCTHead',
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )
    if head in ('DeepLabV3PlusHead', 'DDFPHead', 'DGCLHead', 'MLLCPlusHead'):
        config |= dict(
            in_channels=(CHANNELS[0], CHANNELS[3]),
            in_index=(0, 3),
            low_channels=8,
            dilations=(1, 2, 3),
        )
    elif head in ('SegformerHead', 'UPerHead'):
        config |= dict(in_channels=list(CHANNELS), in_index=[0, 1, 2, 3])
    else:
        config |= dict(in_channels=CHANNELS[3], in_index=3)
    if head == 'CCTHead':
        config |= dict(pool_scales=(1, 2), dropout_ratio=0.0)
    if head == 'MLLCHead':
        config |= dict(dilations=(1, 2), groups=4)
    return config | changes


def tiny_student(
    num_classes: int = 3, head: str = 'DeepLabV3PlusHead', norm: str = 'BN', **changes
) -> dict:
    """Config of a plain ``EncoderDecoder``; ``changes`` go to its decode head."""
    return dict(
        type='EncoderDecoder',
        backbone=tiny_backbone(norm, 8 if head == 'CCTHead' else 16),
        decode_head=tiny_head(head, num_classes, norm, **changes),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


def tiny_preprocessor() -> dict:
    """The inner data preprocessor: ImageNet's mean and deviation."""
    return dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    )


def tiny_recipe(
    method: str,
    num_classes: int = 3,
    head: str | None = None,
    norm: str = 'BN',
    dropout: float = 0.1,
    **changes,
) -> dict:
    """Config of a ``SemiSegmentor``.

    Args:
        method: One of METHODS, or 'dgcl_reference'. The phases of DDFP are those of the published runs; DGCL's contrast
            begins with self-training, at 1, and its banks are full after two or three steps.
        num_classes: K.
        head: Type of the decode head; default what the method needs.
        norm: 'BN' or 'GN'.
        dropout: Of the decode head.
        changes: Keys of the segmentor to be replaced; 'teacher' is merged.
    """
    own = {}
    if head is None and method in _SPLIT_METHODS:
        head, own = 'DDFPHead', dict(split_norms=True)
    elif head is None and (method.startswith('dgcl') or method == 'u2pl_dgcl'):
        head, own = 'DGCLHead', dict(projection=True, projection_channels=8)
    elif head is None and method == 'cct':
        head = 'CCTHead'
    elif head is None and method.startswith('mllc'):
        head = 'MLLCHead' if method == 'mllc_reference' else 'MLLCPlusHead'
        own = dict(embedding_channels=8, rounds=2, graph=dict(top_k=5))
        if method == 'mllc':  # else corrected predictions begin uniform, and weigh nothing
            own['class_layer'] = 'identity'
    head = head or 'DeepLabV3PlusHead'
    reference = method.endswith('reference')
    divisor = {'ddfp_reference': 'confident', 'dgcl_reference': 'inverse', 'u2pl': 'inverse'}.get(
        method, 'valid'
    )
    model = dict(
        type='SemiSegmentor',
        data_preprocessor=dict(type='SemiDataPreprocessor', data_preprocessor=tiny_preprocessor()),
        student=tiny_student(num_classes, head, norm, dropout=dropout, **own),
        iters_per_epoch=ITERS_PER_EPOCH,
        monitor_interval=2,
        objectives=[dict(type='SupervisedObjective')],
    )
    if method == 'cct':
        model['forward'] = 'stream'
        # one decoder of each type, two of the first; objects are small here
        kinds = ('FeatureDropout', 'ContextMask', 'ObjectMask', 'FeatureDrop', 'FeatureNoise')
        model['objectives'].append(
            dict(
                type='CCTObjective',
                weight=dict(type='Ramp', value=3.0, length=2, start=1),
                perturbations=[
                    dict(type='VirtualAdversarial', count=2),
                    dict(type='GuidedCutout', min_vertices=4),
                    *(dict(type=kind) for kind in kinds),
                ],
            )
        )
    elif method != 'supervised':
        model['teacher'] = dict(weights='ema', mode='eval', buffers='copy', start=1)
        if method == 'ddfp_reference':
            model['teacher'] = dict(weights='shared', mode='train', buffers='own')
        if method == 'dgcl_reference':
            model['teacher'] |= dict(mode='train', buffers='own', copy_until=2)
        # untrained networks are not confident anywhere
        model['pseudo_label'] = dict(type='ConfidenceThreshold', threshold=1.05 / num_classes)
        if method.startswith(('dgcl', 'u2pl')):
            falling = dict(type='Line', values=(20.0, 0.0), times=(1, 4))
            model['pseudo_label'] = dict(type='EntropyPercentile', drop=falling)
        model['mixing'] = dict(type='CutMix', prob=0.5)
        if method.startswith('unimatch'):
            model = _unimatch(model, method)
            return model | changes | dict(teacher=model['teacher'] | (changes.get('teacher') or {}))
        if method == 'cps':
            model['peer'] = True
            model['teacher'] = dict(weights='student', mode='train', rows='labeled+weak')
            weight = dict(type='Steps', values=[0.0, 1.5], milestones=[1])
            model['objectives'].append(dict(type='CrossPseudoObjective', weight=weight))
            return model | changes | dict(teacher=model['teacher'] | (changes.get('teacher') or {}))
        if method.startswith('mllc'):
            model = _mllc(model, method == 'mllc_reference', num_classes)
            return model | changes | dict(teacher=model['teacher'] | (changes.get('teacher') or {}))
        values, milestones = [0.0, 1.0], [1]
        if method in _SPLIT_METHODS:
            values, milestones = [0.0, 1.0, 0.5], [1, 2]
        weight = dict(type='Steps', values=values, milestones=milestones)
        model['objectives'].append(
            dict(type='SelfTrainingObjective', weight=weight, divisor=divisor)
        )
    if method in _SPLIT_METHODS:
        model['objectives'].append(
            dict(
                type='DDFPObjective',
                weight=dict(type='Steps', values=[0.0, 0.5], milestones=[2]),
                density_start=1,
                divisor=divisor,
                samples=64,
                hidden_channels=16,
                auxiliary_half=reference,
            )
        )
    queues = dict(queue_size=20, keys_per_step=8, low_rank=1, high_rank=3)
    if method == 'u2pl':
        weight = dict(type='Steps', values=[0.0, 0.5], milestones=[1])
        contrast = dict(type='QueueContrastLoss', negatives=5)
        model['objectives'].append(
            dict(
                type='U2PLObjective',
                weight=weight,
                anchors=8,
                contrast=contrast,
                projection_channels=8,
                **queues,
            )
        )
    if 'dgcl' in method:
        unreliable = method == 'u2pl_dgcl'
        model['objectives'].append(
            dict(
                type='DGCLUnreliableObjective' if unreliable else 'DGCLObjective',
                **(queues if unreliable else {}),
                weight=dict(type='Steps', values=[0.0, 0.5], milestones=[1]),
                uncertain=dict(type='Line', values=(80.0, 10.0), times=(1, 4)),
                anchors=8,
                positives=4,
                bank_positives=4,
                negatives=16,
                max_density_queries=40,
                bank_size=12,
                scales=(2, 4),
                rows_per_step=6,
                density_after=6,
                gate='all' if reference else 'per_class',
                projection_channels=8,
            )
        )
    if changes.get('teacher'):
        changes['teacher'] = model.get('teacher', {}) | changes['teacher']
    return model | changes


def _unimatch(model: dict, method: str) -> dict:
    """Two strong views from 1 on; of V1 with a view of dropped features, of V2 with complementary channels."""
    boxes = dict(type='CutMix', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), coin='image')
    if method == 'unimatch':
        views = ['strong', 'strong_2', 'features']
        changes = dict(
            teacher=dict(weights='student', mode='eval', rows='weak'),
            forward=[['labeled', 'weak'], ['strong', 'strong_2']],
            feature_views=[dict(type='ChannelDropout', views=dict(features='weak'))],
        )
    else:
        views = ['dropped', 'dropped_2']
        sources = dict(dropped='strong', dropped_2='strong_2')
        changes = dict(
            teacher=dict(weights='ema', mode='eval', buffers='average', rows='weak', start=1),
            forward=[['labeled'], ['strong', 'strong_2']],
            feature_views=[dict(type='ComplementaryChannelDropout', views=sources)],
        )
    weight = dict(type='Steps', values=[0.0, 0.5], milestones=[1])
    learned = [
        dict(type='SelfTrainingObjective', weight=weight, view=view, name=f'selftrain_{view}')
        for view in views
    ]
    return model | changes | dict(mixing=boxes, objectives=[*model['objectives'], *learned])


def _mllc(model: dict, reference: bool, num_classes: int) -> dict:
    """MLLC from the first step on; the contrast with prototypes begins at 1."""
    labeler = dict(type='TrainedGraphCorrection', num_classes=num_classes, tau=1.05 / num_classes)
    teacher = dict(weights='ema', mode='eval', buffers='copy', rows='weak', start=1)
    if reference:
        labeler |= dict(pad_mask=False, label_grid='nearest')
        teacher = dict(weights='student', mode='train', rows='weak')
    objective = dict(
        type='MLLCObjective',
        tau_omega=1.02 / num_classes,
        inter_start=1,
        w_intra=0.0 if reference else 0.1,
        banks='shared' if reference else 'per_level',
    )
    return model | dict(
        teacher=teacher,
        pseudo_label=labeler,
        mixing=dict(type='ClassMix', num_classes=num_classes),
        forward='stream',
        objectives=[dict(type='SupervisedObjective'), objective],
    )


def tiny_model(method: str, seed: int = 0, **changes):
    """A built and initialised ``SemiSegmentor``, in training mode."""
    init_default_scope('mmseg')
    MMLogger.get_current_instance().setLevel('ERROR')  # five lines a parameter otherwise
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(tiny_recipe(method, **changes)))
    model.init_weights()
    return model.train()


def tiny_batch(
    num_labeled: int = 2,
    num_unlabeled: int = 2,
    num_classes: int = 3,
    size: int = CROP,
    seed: int = 0,
    padding: int = 4,
) -> dict:
    """A collated training batch as ``SemiDataset`` gives it: uint8 images, None where a branch is empty.

    Labelled images have a void stripe, unlabelled ones padding, ``padding`` columns at their right.
    """
    generator = torch.Generator().manual_seed(seed)
    branches = ('labeled', 'weak', 'strong', 'strong_2')
    total = num_labeled + num_unlabeled
    inputs = {branch: [None] * total for branch in branches}
    samples = {branch: [None] * total for branch in branches}
    for index in range(total):
        image = torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8)
        kind = 'l' if index < num_labeled else 'u'
        meta = dict(img_path=f'{kind}{index}.png', img_shape=(size, size), ori_shape=(size, size))
        if kind == 'l':
            # brightness tells the class, so that there is something to learn
            label = torch.randint(0, num_classes, (size // 4, size // 4), generator=generator)
            label = label.repeat_interleave(4, 0).repeat_interleave(4, 1)
            image = (image // 4 + label.to(torch.uint8) * (180 // num_classes)).to(torch.uint8)
            label = label.clone()
            label[:, size - padding :] = 255
            sample = SegDataSample(gt_sem_seg=PixelData(data=label[None]), metainfo=meta)
            inputs['labeled'][index], samples['labeled'][index] = image, sample
            continue
        valid = torch.ones(1, size, size, dtype=torch.bool)
        valid[..., size - padding :] = False
        image = image * valid.to(torch.uint8)
        for branch, shift in (('weak', 0), ('strong', 20), ('strong_2', 40)):
            sample = SegDataSample(valid_map=PixelData(data=valid.clone()), metainfo=meta)
            inputs[branch][index] = (image // 2 + shift).to(torch.uint8)
            samples[branch][index] = sample
    return {'inputs': inputs, 'data_samples': samples}


def tiny_losses(model, iteration: int, batch: dict | None = None, seed: int = 0) -> dict:
    """The losses of one step of a built segmentor at ``iteration``, without a runner."""
    model.start_step(iteration, seed)
    data = model.data_preprocessor(copy.deepcopy(batch or tiny_batch()), training=True)
    return model.loss(data['inputs'], data['data_samples'])


class TinyLoop:
    """Training steps of a built segmentor with its hooks, without files: what ``Runner`` does in between is left out.

    Args:
        model: From :func:`tiny_model`.
        momentum: Of the teacher.
        lr: Of plain SGD over the student's parameters and those of objectives.
        clip, epochs: Of the flow's hook, which runs where an objective has a density.
        skip_buffer: Of the teacher's hook.
        interval: Of the teacher's hook.
    """

    def __init__(
        self,
        model,
        momentum: float = 0.1,
        lr: float = 0.05,
        clip: float = 50.0,
        epochs: int = 4,
        skip_buffer: bool | None = None,
        interval: int = 1,
    ) -> None:
        self.model, self.iter, self.seed, self._resume = model, 0, 0, False
        self.message_hub = MessageHub(f'tiny_loop_{next(_runs)}')
        trained = [
            parameter
            for segmentor in filter(None, (model, model.peer))
            for part in (segmentor.student, segmentor.objectives)
            for parameter in part.parameters()
        ]
        self.optimizer = torch.optim.SGD([p for p in trained if p.requires_grad], lr)
        self.flow = FlowEstimatorHook(clip=clip, epochs=epochs)
        self.teacher = MeanTeacherHook(momentum, interval=interval, skip_buffer=skip_buffer)
        for hook in (self.flow, self.teacher):
            hook.before_train(self)

    def step(self, batch: dict | None = None) -> dict[str, float]:
        """One iteration; returns the log values."""
        self.model.train()
        losses = tiny_losses(self.model, self.iter, batch or tiny_batch(seed=self.iter), self.seed)
        loss, log_values = self.model.parse_losses(losses)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.finish()
        return log_values

    def finish(self) -> None:
        """What follows the optimiser's step, in the order of the hooks' priorities."""
        self.flow.after_train_iter(self, self.iter)
        self.model.finish_step()
        self.teacher.after_train_iter(self, self.iter)
        self.iter += 1


def snapshot(module) -> dict[str, torch.Tensor]:
    """A copy of the state dict."""
    return {key: value.clone() for key, value in module.state_dict().items()}


# -- a whole run ---------------------------------------------------------------------------------


def write_pictures(root: Path, num_train: int = 10, num_val: int = 2, size=(48, 36)) -> Path:
    """A folder shaped like CamVid's: images and labels of train and val, and lists of both kinds.

    Every picture shows blocks of the eleven classes, each with a colour of its own; labels have a void corner.
    ``size`` is (width, height). The first four training pictures are the labelled ones.
    """
    colours = np.random.default_rng(0).integers(40, 216, (11, 3))
    for split, count in (('train', num_train), ('val', num_val)):
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            rng = np.random.default_rng([index, split == 'val'])
            blocks = rng.permutation(np.arange(12) % 11).reshape(3, 4).astype(np.uint8)
            label = np.array(Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST))
            noise = rng.integers(-20, 20, (*label.shape, 3))
            image = (colours[label] + noise).clip(0, 255).astype(np.uint8)
            label[:3, :3] = 255
            Image.fromarray(image).save(root / 'images' / split / f'{split}{index:02d}.png')
            Image.fromarray(label).save(root / 'labels' / split / f'{split}{index:02d}.png')
    names = [f'train{index:02d}' for index in range(num_train)]
    (root / 'labeled.txt').write_text(''.join(f'{name}\n' for name in names[:4]))
    (root / 'unlabeled.txt').write_text(''.join(f'{name}\n' for name in names[4:]))
    return root


def tiny_data(
    tmp_path: Path,
    method: str = 'ddfp',
    iterations: int = 8,
    batch_size: int = 2,
    num_workers: int = 0,
    checkpoint_interval: int = 4,
    val_interval: int | None = None,
    model: dict | None = None,
) -> Config:
    """Pictures, lists and the config of a whole run on them.

    The config is written to ``tmp_path/tiny_<method>.py`` (``cfg.filename``), where ``tools/train.py`` takes it; the run
    lives in ``tmp_path/work_dir``.

    Args:
        tmp_path: An empty folder.
        method: One of METHODS, or 'dgcl_reference'.
        iterations: Length of the run. The perturbation of DDFP starts at iteration 4, DGCL's bank at 2.
        batch_size: Labelled, and as many unlabelled, images a step.
        num_workers: Of the training loader; validation has none.
        checkpoint_interval: In iterations.
        val_interval: In iterations; default at the end of the run only.
        model: Keyword arguments of :func:`tiny_recipe`.
    """
    tmp_path = Path(tmp_path)
    root = write_pictures(tmp_path / 'data')
    two = method.startswith('unimatch')
    views = ['labeled', 'weak', 'strong', *['strong_2'] * two]
    pack = [dict(type='PackSemiInputs')]
    geometry = [
        dict(type='RandomRelativeResize', ratio_range=(0.5, 2.0)),
        dict(type='PadAllMaps', size=(CROP, CROP), pad_val=dict(img=0, seg=255)),
        dict(type='RandomCrop', crop_size=(CROP, CROP)),
        dict(type='RandomFlip', prob=0.5),
    ]
    strong = [
        dict(
            type='PILColorJitter', prob=0.8, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25
        ),
        dict(type='PILGrayscale', prob=0.2),
        *pack,
    ]
    source = dict(type='CamVidDataset', data_root=str(root), img_suffix='.png')
    labeled = dict(
        **source,
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        ann_file=str(root / 'labeled.txt'),
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadSegLabels', num_classes=11),
            *geometry,
            dict(type='MultiBranch', branch_field=views, labeled=pack),
        ],
    )
    unlabeled = dict(
        **source,
        data_prefix=dict(img_path='images/train'),
        ann_file=str(root / 'unlabeled.txt'),
        pipeline=[
            dict(type='LoadImage'),
            dict(type='InitValidMap'),
            *geometry,
            dict(
                type='MultiBranch',
                branch_field=views,
                weak=pack,
                **{view: strong for view in views if view.startswith('strong')},
            ),
        ],
    )
    semi = method != 'supervised'
    total = 2 * batch_size if semi else batch_size
    val = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            **source,
            data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
            pipeline=[
                dict(type='LoadImageFromFile', imdecode_backend='pillow'),
                dict(type='LoadAnnotations'),
                dict(type='PackSegInputs'),
            ],
        ),
    )
    hooks = dict(
        timer=dict(type='IterTimerHook'),
        logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(
            type='AtomicCheckpointHook',
            by_epoch=False,
            interval=checkpoint_interval,
            max_keep_ckpts=2,
            save_best='mIoU',
            rule='greater',
        ),
        sampler_seed=dict(type='DistSamplerSeedHook'),
        step=dict(type='SemiStepHook', probe_size=64),
        teacher=dict(type='MeanTeacherHook', momentum=0.1),
        record=dict(type='RunRecordHook'),
        results=dict(type='ResultsHook'),
    )
    if method in _SPLIT_METHODS:
        hooks['flow'] = dict(type='FlowEstimatorHook', epochs=max(1, iterations // ITERS_PER_EPOCH))
    config = Config(
        dict(
            default_scope='mmseg',
            custom_imports=dict(imports=['mmseg_semi'], allow_failed_imports=False),
            model=tiny_recipe(method, num_classes=11, **(model or {})),
            train_dataloader=dict(
                batch_size=total,
                num_workers=num_workers,
                persistent_workers=num_workers > 0,
                sampler=dict(
                    type='MultiSourceSampler',
                    batch_size=total,
                    source_ratio=[batch_size, batch_size] if semi else [1],
                ),
                dataset=dict(
                    type='SemiDataset', labeled=labeled, unlabeled=unlabeled if semi else None
                ),
            ),
            val_dataloader=val,
            test_dataloader=val,
            val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            val_cfg=dict(type='TeacherStudentValLoop'),
            test_cfg=dict(type='TeacherStudentTestLoop'),
            train_cfg=dict(
                type='IterBasedTrainLoop',
                max_iters=iterations,
                val_interval=val_interval or iterations,
            ),
            optim_wrapper=dict(
                type='OptimWrapper',
                constructor='StudentOptimWrapperConstructor',
                optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
            ),
            param_scheduler=[
                dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=iterations, by_epoch=False)
            ],
            default_hooks=hooks,
            randomness=dict(seed=0),
            env_cfg=dict(
                cudnn_benchmark=False,
                mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
                dist_cfg=dict(backend='gloo'),
            ),
            vis_backends=[dict(type='LocalVisBackend')],
            visualizer=dict(
                type='SegLocalVisualizer',
                vis_backends=[dict(type='LocalVisBackend')],
                name='visualizer',
            ),
            log_processor=dict(by_epoch=False),
            log_level='ERROR',
            load_from=None,
            resume=False,
            work_dir=str(tmp_path / 'work_dir'),
        ),
        format_python_code=False,
    )
    path = tmp_path / f'tiny_{method}.py'
    config.dump(path)
    return Config.fromfile(path)


def tiny_runner(cfg: Config, **changes) -> Runner:
    """A runner of its own for a config of :func:`tiny_data`, several of which may live in one process.

    Args:
        cfg: Left as it is.
        changes: By dotted key with ``__`` for the dot, such as ``train_cfg__max_iters=2``.
    """
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    # a checkpoint holds the config as text; laying it out prettily takes half a second
    object.__setattr__(cfg, '_format_python_code', False)
    # runners of one name share a message hub, and visualisers of one name are one
    cfg.experiment_name = cfg.visualizer.name = f'tiny_{next(_runs)}'
    return configs.build_runner(cfg)
