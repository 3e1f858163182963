"""Mistakes in the keys and values of a config, in the file itself, and in ``--cfg-options``."""

import math

from PIL import Image

from ..grammar import Case, kind
from ..ground import ddfp, listed

AREA = 'config'


@kind(AREA, listed, times=8)
def misspelt_key(case: Case):
    place, key = [
        ('train_dataloader', 'num_workers'),
        ('train_dataloader.sampler', 'source_ratio'),
        ('train_dataloader.dataset', 'unlabeled'),
        ('train_cfg', 'max_iters'),
        ('optim_wrapper.optimizer', 'momentum'),
        ('param_scheduler.0', 'power'),
        ('default_hooks.checkpoint', 'interval'),
        ('model.student.backbone', 'base_channels'),
    ][case.turn]
    wrong = case.misspell(key)
    case.part(place)[wrong] = case.part(place).pop(key)
    return wrong, key


@kind(AREA, listed, times=6)
def misspelt_type(case: Case):
    place = [
        'optim_wrapper.optimizer',
        'model.student.decode_head',
        'train_dataloader.dataset.labeled.pipeline.2',
        'val_evaluator',
        'param_scheduler.0',
        'default_hooks.teacher',
    ][case.turn]
    node = case.part(place)
    right, node['type'] = node['type'], case.misspell(node['type'])
    return f"type='{node['type']}'", right


@kind(AREA, listed, times=4)
def type_left_out(case: Case):
    place = [
        'optim_wrapper.optimizer',
        'train_dataloader.sampler',
        'model.student.backbone',
        'val_evaluator',
    ][case.turn]
    case.remove(f'{place}.type')
    return 'type', place


@kind(AREA, listed, times=4)
def key_left_out(case: Case):
    place = ('train_cfg', 'train_dataloader', 'optim_wrapper', 'val_evaluator')[case.turn]
    del case.config[place]
    return (place,)


@kind(AREA, listed, times=16)
def value_out_of_range(case: Case):
    place, wrong = [
        ('train_cfg.max_iters', case.pick(0, -8)),
        ('train_cfg.val_interval', 0),
        ('train_dataloader.sampler.batch_size', case.pick(0, -4)),
        ('train_dataloader.num_workers', -1),
        ('optim_wrapper.optimizer.lr', case.pick(-0.01, math.nan)),
        ('optim_wrapper.optimizer.weight_decay', -0.1),
        ('model.iters_per_epoch', 0),
        ('model.student.decode_head.num_classes', case.pick(0, -2)),
        ('model.student.decode_head.dropout_ratio', 1.5),
        ('train_dataloader.dataset.labeled.pipeline.4.crop_size', [0, 0]),
        ('train_dataloader.dataset.labeled.pipeline.2.ratio_range', (2.0, 0.5)),
        ('randomness.seed', -1),
        ('default_hooks.checkpoint.interval', 0),
        ('default_hooks.teacher.momentum', case.pick(0, 1.5)),
        ('model.pseudo_label.threshold', case.pick(-0.5, 1.5)),
        ('default_hooks.checkpoint.max_keep_ckpts', 0),
    ][case.turn]
    case.set(place, wrong)
    if place.endswith('sampler.batch_size'):
        case.set('train_dataloader.batch_size', wrong)
    return place.rpartition('.')[2], str(wrong)


@kind(AREA, listed, times=10)
def value_of_another_type(case: Case):
    place, wrong = [
        ('train_cfg.max_iters', '600'),
        ('train_cfg.val_interval', 1.5),
        ('train_dataloader.batch_size', '4'),
        ('optim_wrapper.optimizer.lr', '1e-3'),
        ('param_scheduler.0.end', '600'),
        ('model.objectives', dict(type='SupervisedObjective')),
        ('model.student.decode_head.in_channels', '64'),
        ('train_dataloader.dataset.labeled', 'data'),
        ('default_hooks.checkpoint', 'AtomicCheckpointHook'),
        ('randomness.seed', 'lucky'),
    ][case.turn]
    case.set(place, wrong)
    return place.rpartition('.')[2], repr(wrong)


@kind(AREA, ddfp, times=2)
def schedule_of_a_weight(case: Case):
    wrong, found = [
        (dict(type='Steps', values=[0.0, 1.0], milestones=[2, 1]), 'milestones'),
        (dict(type='Step', values=[0.0], milestones=[]), 'Step'),
    ][case.turn]
    case.set('model.objectives.1.weight', wrong)
    return 'weight', found


@kind(AREA, listed)
def metric_for_the_best_checkpoint(case: Case):
    wrong = case.misspell('mIoU')
    case.set('default_hooks.checkpoint.save_best', wrong)
    return 'save_best', repr(wrong), 'mIoU'


@kind(AREA, listed)
def metric_that_is_none(case: Case):
    wrong = case.misspell('mIoU')
    case.set('val_evaluator.iou_metrics', [wrong])
    return 'IoUMetric', wrong, 'mIoU'


@kind(AREA, listed, times=9)
def no_config(case: Case):
    text, found = [
        ('train_cfg = dict(max_iters=2\n', 'line'),
        ('_base_ = ["base.py"]\n', 'base.py'),
        ('_base_ = "config.py"\n', 'config.py'),
        ('max_iters = iterations * 2\n', 'iterations'),
        ('from mmengine_ext import nothing\nmodel = dict()\n', 'mmengine_ext'),
        (b'\x80\x02}q\x00.', 'config.py'),
        ('model:\n  type: SemiSegmentor\n', 'line'),
        ('', 'train_dataloader'),
        (
            'custom_imports = dict(imports=["my_own_objective"], allow_failed_imports=False)\n',
            'my_own_objective',
        ),
    ][case.turn]
    case.texts['config.py'] = text
    return 'config.py', found


@kind(AREA, listed, times=2)
def config_that_is_none(case: Case):
    case.command[1] = (case.misspell('config') + '.py', 'data')[case.turn]
    return case.command[1], ('config.py', 'folder')[case.turn]


@kind(AREA, listed, times=6)
def option_that_has_no_place(case: Case):
    option, names = [
        ('train_cfg.max_iter=4', ("'max_iter'", 'train_cfg', "'max_iters'")),
        ('model.objectives.7.weight=1', ('model.objectives', '0 to 1')),
        ('train_cfg.max_iters.value=4', ('train_cfg.max_iters', '2')),
        ('max_iters=4', ('max_iters', 'train_cfg.max_iters')),
        ('train_cfg.max_iters', ('train_cfg.max_iters', '=')),
        ('param_scheduler.end=4', ('param_scheduler', 'end')),
    ][case.turn]
    case.command += ['--cfg-options', option]
    return names


@kind(AREA, listed)
def metric_with_a_misspelt_key(case: Case):
    wrong = case.misspell('iou_metrics')
    case.part('val_evaluator')[wrong] = case.part('val_evaluator').pop('iou_metrics')
    return 'val_evaluator', repr(wrong), "'iou_metrics'"


@kind(AREA, listed, times=5)
def run_that_could_not_go_on(case: Case):
    place, value, names = [
        (
            'train_cfg',
            dict(type='EpochBasedTrainLoop', max_epochs=2),
            ('EpochBasedTrainLoop', 'IterBasedTrainLoop', 'max_iters=4'),
        ),
        (
            'train_dataloader.sampler.source_ratio',
            [1, 1],
            ('batch_size=4', 'source_ratio=[2, 2]'),
        ),
        ('model.student.decode_head.ignore_index', 0, ('ignore_index=0', '255', "'ignore'")),
        ('param_scheduler.0.end', 1, ('PolyLR', 'iteration 1', 'end=2')),
        (
            'val_dataloader.batch_size',
            2,
            ('val_dataloader.batch_size=2', 'val01.png', 'batch_size=1'),
        ),
    ][case.turn]
    case.set(place, value)
    if case.turn == 1:  # one image of each kind
        case.set('train_dataloader.batch_size', 2)
        case.set('train_dataloader.sampler.batch_size', 2)
    if case.turn == 4:
        for folder in ('images', 'labels'):
            path = case.file(f'data/{folder}/val/val01.png')
            Image.open(path).crop((0, 0, 40, 36)).save(path)
    return names


@kind(AREA, listed, times=4)
def pipeline_that_leaves_something_out(case: Case):
    place, key = [
        ('train_dataloader.dataset.labeled.pipeline.1', 'labeled.pipeline'),
        ('train_dataloader.dataset.unlabeled.pipeline.6.weak', 'unlabeled.pipeline'),
        ('val_dataloader.dataset.pipeline.2', 'val_dataloader.dataset.pipeline'),
        ('val_dataloader.dataset.pipeline.1', 'val_dataloader.dataset.pipeline'),
    ][case.turn]
    case.remove(place)
    return key, ('labels', "'weak'", 'no inputs', 'labels')[case.turn]


@kind(AREA, listed)
def setting_of_processes(case: Case):
    wrong = case.misspell('mp_start_method')
    case.part('env_cfg.mp_cfg')[wrong] = case.part('env_cfg.mp_cfg').pop('mp_start_method')
    return 'env_cfg.mp_cfg', repr(wrong), "'mp_start_method'"


@kind(AREA, listed, times=2)
def way_of_inference(case: Case):
    wrong = (dict(mode='sliding'), dict(mode='slide', crop_size=(32, 32)))[case.turn]
    case.set('model.student.test_cfg', wrong)
    return 'model.student.test_cfg', ("'sliding'", 'stride')[case.turn]
