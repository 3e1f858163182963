"""What the command that trains says at its end: how it went, and what to type next."""

import argparse
import shlex
import sys
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmseg_semi.runtime.configs import print_once
from mmseg_semi.runtime.stopping import Interrupted, Stopped


def command(name: str, *arguments: object) -> str:
    """A command in the form in which the running one was called: ``tools/NAME.py`` or ``mmseg-semi NAME``.

    Args:
        name: Of the command.
        arguments: Its arguments; None is left out.
    """
    called = Path(sys.argv[0])
    if called.suffix == '.py' and called.parent.name == 'tools':
        start = ['python', str(called.with_name(f'{name.replace("-", "_")}.py'))]
    else:
        start = ['mmseg-semi', name]
    given = [str(argument) for argument in arguments if argument is not None]
    return shlex.join([*start, *given])


def resume_command(args: argparse.Namespace) -> str:
    """The command that goes on with a run: the one that ends, with ``--resume`` alone."""
    if args.launcher != 'none':
        return 'the command by which this run was started, with --resume'
    given: list[str] = []
    words = iter(args.words)
    for word in words:
        if word == '--resume' and args.resume != 'auto':
            next(words)  # the checkpoint
        elif word.partition('=')[0] != '--resume':
            given.append(word)
    return command('train', *given, '--resume')


def after_interruption(interruption: Interrupted, args: argparse.Namespace) -> None:
    """Say that nothing was trained."""
    print_once(f'{interruption}: stopped before the first iteration, nothing was trained')


def after_stopping(stopped: Stopped, runner: Runner, args: argparse.Namespace) -> None:
    """Say how to go on with a run that was ended early."""
    if not is_main_process():
        return
    print(f'\n{stopped.reason}: stopped after iteration {stopped.iteration} of {runner.max_iters}')
    if stopped.checkpoint is None:
        print('default_hooks.checkpoint is off, so nothing was saved')
        return
    print(f'saved {stopped.checkpoint}; go on with:\n  {resume_command(args)}', flush=True)


def after_training(runner: Runner, args: argparse.Namespace) -> None:
    """Say which network is better, and what to type next."""
    if not is_main_process():
        return
    scores = last_scores(runner)
    best, network = choose(runner, scores)
    lines = ['']
    if scores:
        said = ', '.join(f'{name} {value:.2f}' for name, value in scores.items() if name)
        said = said or f'{scores[None]:.2f}'
        lines.append(f'finished after {runner.iter} iterations; last mIoU: {said}')
    else:
        lines.append(f'finished after {runner.iter} iterations')
    if best is None:
        print('\n'.join([*lines, 'no checkpoint was saved']), flush=True)
        return
    predicting = getattr(_model(runner), 'predicting_network', None)
    option = ['--network', network] if network not in (None, predicting) else []
    if option:
        lines.append(f'the {network} is ahead of the {predicting}, so the commands name it')
    out = Path(runner.work_dir, 'published')
    lines += [
        'what to do next:',
        '  ' + command('test', args.config, best, *option),
        '  ' + command('predict', best, 'FOLDER_OF_IMAGES', *option, '--out', 'predictions'),
        '  ' + command('publish', args.config, best, *option, '--out', out),
    ]
    print('\n'.join(lines), flush=True)


def last_scores(runner: Runner) -> dict[str | None, float]:
    """The last mIoU by network; None is the network of a plain segmentor."""
    history = runner.message_hub.runtime_info.get('results') or []
    scores: dict[str | None, float] = {}
    for key, value in (history[-1] if history else {}).items():
        name, _, metric = key.rpartition('/')
        if metric == 'mIoU':
            scores[name or None] = value
    return scores


def choose(runner: Runner, scores: dict[str | None, float]) -> tuple[str | None, str | None]:
    """The checkpoint and the network to go on with.

    This is the best checkpoint of the network that predicts, unless another network is better at the end: then it is the
    last checkpoint and that network.

    Returns:
        tuple[str | None, str | None]: A path, None if there is none, and the network's name, None for a plain one.
    """
    info = runner.message_hub.runtime_info
    last = info.get('last_ckpt')
    predicting = getattr(_model(runner), 'predicting_network', None)
    leading = max(scores, key=lambda name: scores[name]) if scores else predicting
    if leading == predicting or predicting is None or scores[leading] == scores.get(predicting):
        best = info.get('best_ckpt') or last
        return best and _shown(best), predicting
    return last and _shown(last), leading


def _shown(path: str) -> str:
    """A path as short as it can be typed."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return path


def _model(runner: Runner):
    return getattr(runner.model, 'module', runner.model)
