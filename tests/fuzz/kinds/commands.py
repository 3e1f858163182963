"""Words of the command line: commands, options and their values."""

from ..grammar import Case, kind
from ..ground import bare, checkpoint, listed, own

AREA = 'command line'


@kind(AREA, bare)
def command_that_is_none(case: Case):
    wrong = case.misspell('train')
    case.command = [wrong, 'config.py']
    return repr(wrong), 'train'


@kind(AREA, listed, times=9)
def option_of_train(case: Case):
    words, names = [
        (['--time', '5x'], ('--time', '5x', '90m')),
        (['--time', '-1h'], ('--time', 'expected one argument')),
        (['--early-stop', '0'], ('--early-stop', '0', '1 or more')),
        (['--early-stop', 'often'], ('--early-stop', 'often')),
        (['--launcher', 'mpirun'], ('--launcher', 'mpirun', 'pytorch')),
        (['--launcher', 'pytorch'], ('--launcher', 'pytorch', 'torchrun')),
        (['--epochs', '5'], ('--epochs',)),
        (['--work-dir', 'data/labeled.txt'], ('--work-dir', 'data/labeled.txt', 'file')),
        (['--work-dir', ''], ('--work-dir', 'folder')),
    ][case.turn]
    case.command = case.command[:2] if '--work-dir' in words else case.command
    case.command += words
    return names


@kind(AREA, own, times=3)
def option_of_check(case: Case):
    words, names = [
        (['config.py', '--jobs', '0'], ('--jobs', '0', '1 or more')),
        ([], ('nothing to check', '--labeled')),
        (['--labeled', 'photos', 'mask'], ('mask', 'no folder')),
    ][case.turn]
    case.command = ['check', *words]
    if case.turn:
        case.config = None
    return names


@kind(AREA, bare, times=6)
def option_of_splits(case: Case):
    words, names = [
        (['make', '--images', 'photo', '--n', '2', '--out', 'split'], ('--images', 'photo')),
        (['make', '--images', 'photos', '--n', '9', '--out', 'split'], ('--n', '9', '6 images')),
        (
            ['make', '--images', 'photos', '--n', '2', '--seed', '-1', '--out', 'split'],
            ('--seed', '-1'),
        ),
        (
            ['make', '--images', 'photos', '--n', '2', '--group', '(', '--out', 'split'],
            ('--group', '('),
        ),
        (
            ['make', '--images', 'photos', '--n', '2', '--balance', 'classes', '--out', 'split'],
            ('--balance', '--masks'),
        ),
        (['describe', 'photo'], ('photo',)),
    ][case.turn]
    case.command = ['splits', *words]
    return names


@kind(AREA, checkpoint, times=7)
def option_of_predict(case: Case):
    words, names = [
        (['weights.pth', 'data', '--out', 'out', '--tile', '7'], ('--tile', '7')),
        (['weights.pth', 'data', '--out', 'out', '--overlap', '0.9'], ('--overlap', '0.9')),
        (['weights.pth', 'data', '--out', 'out', '--what', 'maps'], ('--what', 'maps', 'masks')),
        (['weights.pth', 'date', '--out', 'out'], ('date', 'does not exist')),
        (['weights.pth', 'data', '--out', 'data/images'], ('--out', 'data/images')),
        (['weight.pth', 'data', '--out', 'out'], ('weight.pth', 'does not exist')),
        (['weights.pth', 'data', '--out', 'out', '--device', 'gpu'], ('--device', 'gpu')),
    ][case.turn]
    case.command = ['predict', *words]
    return names


@kind(AREA, checkpoint, times=4)
def checkpoint_of_a_command(case: Case):
    name = ('test', 'publish', 'export', 'report')[case.turn]
    case.command = [name, 'config.py', 'weight.pth']
    if name == 'report':
        case.command = [name, 'runs']
        return 'runs', 'folder'
    if name == 'export':
        case.command.append('network.onnx')
    return 'weight.pth', 'does not exist'


@kind(AREA, own, times=3)
def bands_to_be_measured(case: Case):
    case.config = None
    case.command = ['band-statistics', 'data.yaml']
    if case.turn == 0:
        case.command += ['--images', '0']
        return '--images', '0', '1 or more'
    if case.turn == 1:
        case.command += ['--seed', '-1']
        return '--seed', '-1'
    case.data['bands'] = dict(count=4)
    return 'photos/a0.png', '3 bands, expected 4', 'bands.count'
