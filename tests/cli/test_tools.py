"""train, test, publish and their errors, from the command line, on a run of seconds."""

import itertools
import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from PIL import Image
from tiny_semi import tiny_data

from mmseg_semi.errors import SetupError
from mmseg_semi.runtime import configs

ROOT = Path(__file__).resolve().parents[2]
_names = itertools.count()
TTA = """
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(48, 36))],
            [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='PackSegInputs'),
]
"""


def write_run(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(tiny_data(folder, iterations=6, checkpoint_interval=2, **changes).filename)
    path.write_text(path.read_text() + TTA)
    return path


def call(tool: str, *args) -> None:
    """The tool in this process: importing the stack anew would take most of the time."""
    argv = [f'{ROOT}/tools/{tool}.py', *map(str, args)]
    if tool in ('train', 'test'):  # two runs of one second must not share their log
        run = f'run{next(_names)}'
        names = [f'experiment_name={run}', f'visualizer.name={run}']
        argv += ['--cfg-options', *names, *options(argv)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, 'argv', argv)
        runpy.run_path(argv[0], run_name='__main__')


def options(argv: list[str]) -> list[str]:
    """Take the values of ``--cfg-options``, which is last, out of ``argv``."""
    if '--cfg-options' not in argv:
        return []
    start = argv.index('--cfg-options')
    values = argv[start + 1 :]
    del argv[start:]
    return values


def refuse(capsys, tool: str, *args) -> str:
    """The one sentence with which the tool ends."""
    with pytest.raises(SystemExit) as info:
        call(tool, *args)
    assert info.value.code == 2
    error = capsys.readouterr().err
    sentences = [line for line in error.splitlines() if line.startswith('error: ')]
    assert len(sentences) == 1 and 'Traceback' not in error
    return sentences[0]


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """A folder with a config and a finished run, made by the tool; test_resume.py runs it as a command."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_run(folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        call('train', config.name)
    return folder


def test_train_writes_its_run(trained):
    work_dir = trained / 'work_dir'
    assert (work_dir / 'last_checkpoint').read_text() == 'iter_6.pth'
    assert {path.name for path in work_dir.glob('iter_*.pth')} == {'iter_4.pth', 'iter_6.pth'}
    assert len(list(work_dir.glob('best_teacher_mIoU_iter_*.pth'))) == 1


def test_resume_equals_an_uninterrupted_run(trained, tmp_path):
    work_dir = tmp_path / 'moved'
    shutil.copytree(trained / 'work_dir', work_dir)
    (work_dir / 'iter_6.pth').write_bytes(
        (work_dir / 'iter_6.pth').read_bytes()[:1000]
    )  # cut short
    config = write_run(tmp_path)
    call('train', config, '--work-dir', work_dir, '--resume')
    whole = torch.load(trained / 'work_dir' / 'iter_6.pth', weights_only=True)
    resumed = torch.load(work_dir / 'iter_6.pth', weights_only=True)
    assert whole['state_dict'].keys() == resumed['state_dict'].keys()
    for name, tensor in whole['state_dict'].items():
        assert torch.equal(tensor, resumed['state_dict'][name]), name


def test_resume_with_nothing_there_starts_anew(tmp_path, capfd):
    config = write_run(tmp_path, method='supervised')
    call(
        'train',
        config,
        '--resume',
        '--amp',
        '--cfg-options',
        'train_cfg.max_iters=1',
        'log_level=INFO',
    )
    assert 'no checkpoint in' in capfd.readouterr().out
    saved = Config.fromfile(tmp_path / 'work_dir' / config.name)
    assert saved.optim_wrapper.type == 'CPUAmpOptimWrapper'
    assert (tmp_path / 'work_dir' / 'iter_1.pth').is_file()


@pytest.mark.parametrize('network', ['teacher', 'student'])
def test_test_writes_predictions(trained, tmp_path, network):
    checkpoint = trained / 'work_dir' / 'iter_6.pth'
    shown = ['--show-dir', tmp_path / 'shown', '--work-dir', tmp_path / 'work']
    call(
        'test',
        trained / 'tiny_ddfp.py',
        checkpoint,
        '--network',
        network,
        '--out',
        tmp_path / 'out',
        *shown,
    )
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'val00.png', 'val01.png'}
    pages = sorted((tmp_path / 'shown').iterdir())
    assert [page.name for page in pages] == ['val00.png', 'val01.png']
    width, height = Image.open(pages[0]).size
    assert (
        width > 3 * 48 and height > 36 + 14
    )  # image, truth and prediction of 48 x 36, titles, a legend


def test_show_dir_is_a_new_folder_and_augmented_views_are_drawn_too(trained, tmp_path, capsys):
    arguments = ['test', trained / 'tiny_ddfp.py', trained / 'work_dir/iter_6.pth', '--tta']
    arguments += ['--show-dir', tmp_path / 'shown', '--work-dir', tmp_path / 'work']
    call(*arguments)
    assert len(list((tmp_path / 'shown').iterdir())) == 2
    assert 'holds files; give the name of a new folder' in refuse(capsys, *arguments)


def test_images_without_masks_are_not_scored(trained, tmp_path, capsys):
    folders = {
        'images': str(trained / 'data/images/train'),
        'masks': str(trained / 'data/labels/train'),
    }
    own = dict(
        labeled=folders,
        unlabeled=[str(trained / 'data/images/val')],
        classes=[str(index) for index in range(11)],
    )
    (tmp_path / 'own.json').write_text(json.dumps(own))
    (tmp_path / 'pool.py').write_text(
        f"_base_ = '{trained / 'tiny_ddfp.py'}'\n"
        "load = [dict(type='LoadAnyImage'), dict(type='LoadAnyLabels'), dict(type='PackSegInputs')]\n"
        'test_dataloader = dict(dataset=dict(_delete_=True, type="FolderDataset", '
        f'data_file="{tmp_path / "own.json"}", part="unlabeled", pipeline=load))\n'
    )
    sentence = refuse(
        capsys,
        'test',
        tmp_path / 'pool.py',
        trained / 'work_dir/iter_6.pth',
        '--work-dir',
        tmp_path / 'w',
    )
    assert "part='unlabeled' has no masks" in sentence and 'mmseg-semi predict' in sentence


def test_test_with_augmentation(trained, tmp_path, capfd):
    checkpoint = trained / 'work_dir' / 'iter_6.pth'
    options = ['--cfg-options', 'log_level=INFO']
    call('test', trained / 'tiny_ddfp.py', checkpoint, '--tta', '--work-dir', tmp_path, *options)
    assert 'mIoU' in capfd.readouterr().out


@pytest.mark.parametrize('network', ['teacher', 'student'])
def test_publish(trained, tmp_path, network, capsys):
    config, checkpoint = trained / 'tiny_ddfp.py', trained / 'work_dir' / 'iter_6.pth'
    call('publish', config, checkpoint, '--network', network, '--out', tmp_path)
    (path,) = tmp_path.glob('*.pth')
    assert path.name.startswith(f'tiny_ddfp_{network}-')
    content = torch.load(path, weights_only=True)
    assert set(content) == {'meta', 'state_dict'} and not any(
        'aux' in k for k in content['state_dict']
    )

    model = init_model(str(path.with_suffix('.py')), str(path), device='cpu')
    assert (
        type(model).__name__ == 'EncoderDecoder'
        and type(model.decode_head).__name__ == 'DeepLabV3PlusHead'
    )
    cfg = configs.load_config(config)
    init_default_scope('mmseg')
    semi = MODELS.build(cfg.model)
    load_checkpoint(semi, str(checkpoint), map_location='cpu')
    semi.to(memory_format=torch.contiguous_format)  # in which published models are
    images = torch.randn(2, 3, 40, 56)
    with torch.no_grad():
        assert torch.equal(model(images), semi.eval().network(network)(images))
        other = semi.network({'teacher': 'student', 'student': 'teacher'}[network])
        assert not torch.equal(model(images), other(images))  # the comparison can tell them apart
    image = trained / 'data' / 'images' / 'val' / 'val00.png'
    assert inference_model(model, str(image)).pred_sem_seg.data.shape == (1, 36, 48)
    assert len(model.dataset_meta['classes']) == 11
    call('test', path.with_suffix('.py'), path, '--work-dir', tmp_path / 'work')


@pytest.mark.parametrize(
    ('scores', 'written', 'sentence'),
    [
        (
            {'teacher': 55.7, 'student': 64.2},
            'student',
            'iteration 6: teacher 55.70, student 64.20',
        ),
        (
            {'teacher': 64.2, 'student': 55.7},
            'teacher',
            'iteration 6: teacher 64.20, student 55.70',
        ),
        ({'teacher': 60.0, 'student': 60.0}, 'teacher', 'teacher 60.00, student 60.00'),
        ({'teacher': 60.0}, 'teacher', 'no validation of all its networks (teacher, student)'),
    ],
)
def test_publish_takes_what_the_validation_of_the_checkpoint_prefers(
    trained, tmp_path, capsys, scores, written, sentence
):
    checkpoint = torch.load(trained / 'work_dir/iter_6.pth', weights_only=True)
    history = checkpoint['message_hub']['runtime_info']['results']
    assert history[-1]['iter'] == 6 and {'teacher/mIoU', 'student/mIoU'} <= set(history[-1])
    history[-1] = {'iter': 6, **{f'{name}/mIoU': value for name, value in scores.items()}}
    torch.save(checkpoint, tmp_path / 'run.pth')
    capsys.readouterr()
    call('publish', trained / 'tiny_ddfp.py', tmp_path / 'run.pth', '--out', tmp_path / 'out')
    printed = capsys.readouterr().out
    assert f'The {written} is taken' in printed and sentence in printed
    (path,) = (tmp_path / 'out').glob('*.pth')
    assert path.name.startswith(f'tiny_ddfp_{written}-')
    assert torch.load(path, weights_only=True)['meta']['network'] == written


def test_what_is_published_imports_what_its_network_needs_and_no_more(
    trained, tmp_path, monkeypatch
):
    (tmp_path / 'my_backbone.py').write_text(
        'from mmseg.models import ResNetV1c\n'
        'from mmseg.registry import MODELS\n\n'
        '@MODELS.register_module(force=True)\n'
        'class MyResNet(ResNetV1c):\n'
        '    pass\n'
    )
    (tmp_path / 'my_hook.py').write_text('')
    monkeypatch.syspath_prepend(str(tmp_path))
    cfg = Config.fromfile(trained / 'tiny_ddfp.py')
    cfg.custom_imports.imports = [*cfg.custom_imports.imports, 'my_hook', 'my_backbone']
    assert cfg.model.student.backbone.type == 'ResNetV1c'
    cfg.model.student.backbone.type = 'MyResNet'
    cfg.dump(tmp_path / 'own.py')
    call('publish', tmp_path / 'own.py', trained / 'work_dir/iter_6.pth', '--out', tmp_path / 'out')
    (path,) = (tmp_path / 'out').glob('*.py')
    assert Config.fromfile(path).custom_imports.imports == ['mmseg_semi', 'my_backbone']


@pytest.mark.parametrize(
    ('args', 'sentence'),
    [
        (['gone.py'], r"config '.*gone\.py' does not exist"),
        (['tiny_ddfb.py'], r'did you mean .*tiny_ddfp\.py'),
        (['broken.py'], r"config '.*broken\.py' cannot be read: SyntaxError"),
        (
            ['tiny_ddfp.py', '--cfg-options', 'modle.student=1'],
            r"no key 'modle'; did you mean 'model'",
        ),
        (['tiny_ddfp.py', '--cfg-options', 'max_iters=9'], r"did you mean 'train_cfg\.max_iters'"),
        (['tiny_ddfp.py', '--cfg-options', 'model.objectives.7.weight=1'], r'is a list of 3'),
        (
            ['tiny_ddfp.py', '--cfg-options', 'model.student.decode_head.depht=1'],
            r"unexpected .* 'depht'",
        ),
        (
            ['tiny_ddfp.py', '--cfg-options', 'model.student.backbone.type=Foo'],
            r"type='Foo' is not registered",
        ),
        (
            ['tiny_ddfp.py', '--cfg-options', 'optim_wrapper.type=AmpOptimWrapper'],
            r'CPUAmpOptimWrapper',
        ),
        (['tiny_ddfp.py', '--resume', 'gone.pth'], r"'gone\.pth' does not exist"),
        (['tiny_ddfp.py', '--resume', 'tiny_ddfp.py'], r'is a text file, no checkpoint'),
        (
            ['tiny_ddfp.py', '--launcher', 'pytorch'],
            r'has no RANK.*torchrun .* -m mmseg_semi train',
        ),
    ],
)
def test_mistakes_are_one_sentence(args, sentence, tmp_path, capsys, monkeypatch):
    write_run(tmp_path)
    (tmp_path / 'broken.py').write_text('a = (1,\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('RANK', raising=False)
    error = refuse(capsys, 'train', *args)
    assert re.search(sentence, error), error


def test_a_checkpoint_of_another_architecture(trained, tmp_path, capsys):
    checkpoint = trained / 'work_dir' / 'iter_6.pth'
    wider = ['--cfg-options', 'model.student.decode_head.channels=24']
    error = refuse(
        capsys, 'test', trained / 'tiny_ddfp.py', checkpoint, '--work-dir', tmp_path, *wider
    )
    assert 'another architecture' in error
    error = refuse(
        capsys, 'test', trained / 'tiny_ddfp.py', tmp_path / 'gone.pth', '--work-dir', tmp_path
    )
    assert 'gone.pth' in error


def test_mmpretrain_without_torchvision(tmp_path, monkeypatch):
    monkeypatch.setitem(
        sys.modules, 'mmpretrain.models', None
    )  # what a failing import leaves behind
    config = tmp_path / 'config.py'
    config.write_text(
        "model = dict(type='EncoderDecoder', backbone=dict(type='mmpretrain.ConvNeXt'))"
    )
    with pytest.raises(
        SetupError, match=r"type='mmpretrain.ConvNeXt' needs mmpretrain.*torchvision"
    ):
        configs.load_config(config)
    config.write_text(
        "custom_imports = dict(imports=['mmpretrain.models'], allow_failed_imports=False)"
    )
    with pytest.raises(SetupError, match='needs mmpretrain.*torchvision'):
        configs.load_config(config)


def test_options_may_fill_a_none(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('optim_wrapper = dict(clip_grad=None, paramwise=[dict(lr=1)])')
    options = {
        'optim_wrapper.clip_grad.max_norm': 2.0,
        'optim_wrapper.paramwise.0.lr': 3,
        'work_dir': 'x',
    }
    cfg = configs.load_config(config, options)
    assert (
        cfg.optim_wrapper.clip_grad == {'max_norm': 2.0} and cfg.optim_wrapper.paramwise[0].lr == 3
    )


@pytest.mark.parametrize(
    ('config', 'option', 'expected'),
    [
        ('/x/configs/ddfp/voc_732.py', None, 'work_dirs/ddfp/voc_732'),
        ('/x/configs/ddfp/reference/voc_732.py', None, 'work_dirs/ddfp/reference/voc_732'),
        ('/x/mine.py', None, 'work_dirs/mine'),
        ('/x/mine.py', 'here', 'here'),
    ],
)
def test_work_dirs_do_not_collide(config, option, expected):
    cfg = Config(dict())
    configs.set_work_dir(cfg, option, config)
    assert cfg.work_dir == expected


def test_to_weights_only(tmp_path, capsys):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'ran',)

    weights = torch.nn.Linear(2, 3).state_dict()
    torch.save({'state_dict': weights, 'extra': Payload()}, tmp_path / 'in.pth')
    tool = 'model_converters/to_weights_only'
    assert '--trust' in refuse(capsys, tool, tmp_path / 'in.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists() and not (tmp_path / 'ran').exists()
    call(tool, tmp_path / 'in.pth', tmp_path / 'out.pth', '--trust')
    content = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert torch.equal(content['state_dict']['weight'], weights['weight']) and set(content) == {
        'state_dict'
    }


def test_a_config_of_a_project_may_import_its_project(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'elsewhere' / 'projects' / 'made_up'
    (folder / 'configs').mkdir(parents=True)
    (folder / '__init__.py').write_text('NUMBER = 3\n')
    config = folder / 'configs' / 'run.py'
    config.write_text("custom_imports = dict(imports=['projects.made_up'])\nvalue = 1\n")
    assert configs.load_config('elsewhere/projects/made_up/configs/run.py').value == 1
    assert sys.modules.pop('projects.made_up').NUMBER == 3


def test_a_config_may_import_a_module_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', list(sys.path))
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'objective_beside.py').write_text('from helper_beside import NUMBER\n')
    (folder / 'helper_beside.py').write_text('NUMBER = 5\n')
    (folder / 'json.py').write_text('raise RuntimeError\n')  # hides no installed module
    config = folder / 'run.py'
    config.write_text("custom_imports = dict(imports=['objective_beside', 'json'])\nvalue = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, 'json')
    assert configs.load_config('mine/run.py').value == 1
    assert sys.modules.pop('objective_beside').NUMBER == 5
    del sys.modules['helper_beside']
