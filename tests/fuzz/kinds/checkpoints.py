"""Checkpoints that are none, are damaged, or belong to another model."""

import io
import pickle
import zipfile

import torch

from ..grammar import Case, kind
from ..ground import checkpoint, checkpoint_bytes
from .images import LFS

AREA = 'checkpoints'


def changed(change) -> bytes:
    """The checkpoint after ``change`` of its content, which may return another one."""
    content = torch.load(io.BytesIO(checkpoint_bytes()), weights_only=True)
    replaced = change(content)
    file = io.BytesIO()
    torch.save(content if replaced is None else replaced, file)
    return file.getvalue()


def hand_over(case: Case) -> str:
    """Give the checkpoint to a command; returns its name."""
    option = case.pick('--load-from', '--resume', 'load_from')
    if option == 'load_from':
        case.set('load_from', 'weights.pth')
    else:
        case.command += [option, 'weights.pth']
    return 'weights.pth'


@kind(AREA, checkpoint, times=8)
def file_that_is_none(case: Case):
    content = checkpoint_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w') as file:
        file.writestr('notes.txt', 'nothing')
    wrong = [
        b'',
        LFS,
        content[: case.number(1000, len(content) - 1000)],
        bytes(len(content)),
        case.rng.bytes(4000),
        pickle.dumps({'state_dict': {}}),
        archive.getvalue(),
        content[:20000] + case.rng.bytes(200) + content[20200:],
    ][case.turn]
    case.texts['weights.pth'] = wrong
    return hand_over(case), (
        'empty',
        'text file',
        'cut short',
        'checkpoint',
        'checkpoint',
        'pickle',
        'checkpoint',
        'damaged',
    )[case.turn]


@kind(AREA, checkpoint, times=2)
def path_that_is_none(case: Case):
    case.file('weights.pth').unlink()
    if case.turn:
        case.file('weights.pth').mkdir()
    return hand_over(case), ('does not exist', 'folder')[case.turn]


@kind(AREA, checkpoint, times=5)
def content_of_another_kind(case: Case):
    def change(content: dict):
        if case.turn == 0:
            return [1, 2, 3]
        if case.turn == 1:
            return dict(epoch=3, loss=0.5)
        if case.turn == 2:
            content['state_dict'] = [1, 2]
        if case.turn == 3:
            content['state_dict'] = {key: 1.0 for key in content['state_dict']}
        if case.turn == 4:
            return torch.zeros(4)

    case.texts['weights.pth'] = changed(change)
    return hand_over(case), ('a list', 'epoch, loss', 'list', 'float', 'Tensor')[case.turn]


@kind(AREA, checkpoint, times=4)
def weights_of_another_model(case: Case):
    def change(content: dict):
        state = content['state_dict']
        keys = [key for key in state if key.startswith('student.decode_head')]
        key = keys[case.number(0, len(keys))]
        if case.turn == 0:
            del state[key]
        if case.turn == 1:
            state[key] = torch.zeros(2, 3, 4)
        if case.turn == 2:
            state['student.decode_head.extra.weight'] = torch.zeros(3)
        if case.turn == 3:
            content['state_dict'] = {f'module.{key}': value for key, value in state.items()}

    case.texts['weights.pth'] = changed(change)
    return hand_over(case), ('missing', 'shape', 'extra.weight', 'module.')[case.turn]


@kind(AREA, checkpoint, times=2)
def weights_that_are_no_numbers(case: Case):
    def change(content: dict):
        state = content['state_dict']
        keys = [
            key for key, value in state.items() if value.is_floating_point() and value.dim() == 4
        ]
        state[keys[case.number(0, len(keys))]][0, 0, 0, 0] = (float('nan'), float('inf'))[case.turn]

    case.texts['weights.pth'] = changed(change)
    case.command += ['--load-from', 'weights.pth']
    return 'weights.pth', ('nan', 'inf')[case.turn]


@kind(AREA, checkpoint)
def resumed_from_weights_alone(case: Case):
    case.command += ['--resume', 'weights.pth']
    return 'weights.pth', 'optimizer', '--load-from'


@kind(AREA, checkpoint)
def resumed_and_loaded(case: Case):
    case.command += ['--resume', '--load-from', 'weights.pth']
    return '--resume', '--load-from', 'one of the two'
