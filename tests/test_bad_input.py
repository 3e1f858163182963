"""What a user can get wrong, from the command line: one sentence, exit status 2, and nothing trained.

The parts' own tests look at each error closely; here is the table of what ``tools/train.py`` says.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import IterBasedTrainLoop
from mmseg.registry import MODELS
from PIL import Image
from tiny_semi import tiny_data, tiny_head
from whole_runs import assert_same, call_tool

from mmseg_semi.runtime import configs, devices


class Trial:
    """A run that should be refused: its data and config to be damaged, and what became of it."""

    def __init__(self, folder: Path, capfd, monkeypatch) -> None:
        self.folder, self.capfd, self.monkeypatch = folder, capfd, monkeypatch
        self.iterations, self.runner = 0, None
        self.configure('ddfp')
        run_iter, build_runner = IterBasedTrainLoop.run_iter, configs.build_runner

        def count(loop, batch):
            run_iter(loop, batch)
            self.iterations += 1

        def keep(cfg):
            # runners of one second must not share their log
            cfg.experiment_name = f'trial_{id(self)}_{np.random.default_rng().integers(2**32)}'
            self.runner = build_runner(cfg)
            return self.runner

        monkeypatch.setattr(IterBasedTrainLoop, 'run_iter', count)
        monkeypatch.setattr(configs, 'build_runner', keep)

    def configure(self, method: str, **changes) -> Config:
        self.cfg = tiny_data(
            self.folder, method, **{'iterations': 6, 'checkpoint_interval': 1, **changes}
        )
        return self.cfg

    @property
    def data(self) -> Path:
        return self.folder / 'data'

    @property
    def head(self):
        return self.cfg.model.student.decode_head

    def image(self, name: str, kind: str = 'images') -> Path:
        return self.data / kind / 'train' / f'{name}.png'

    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob('run/*.pth*'))

    def train(self, *arguments) -> None:
        self.cfg.dump(self.cfg.filename)
        try:
            call_tool('train', self.cfg.filename, '--work-dir', self.folder / 'run', *arguments)
        finally:
            devices.end_workers()

    def refused(self, *arguments, iterations: int | None = 0) -> str:
        """The one sentence, after that many iterations (None: some)."""
        with pytest.raises(SystemExit) as exit_info:
            self.train(*arguments)
        said = self.capfd.readouterr()
        assert exit_info.value.code == 2
        assert 'Traceback' not in said.out + said.err
        sentences = [line for line in said.err.splitlines() if line.startswith('error: ')]
        assert len(sentences) == 1, said.err
        # nothing behind the sentence, and no second line of it
        assert said.err.rstrip().endswith(sentences[0])
        if iterations is not None:
            assert self.iterations == iterations
        if not self.iterations:
            assert not self.checkpoints()
        return sentences[0]


@pytest.fixture
def trial(tmp_path, capfd, monkeypatch) -> Trial:
    return Trial(tmp_path, capfd, monkeypatch)


def rename_list_entry(trial: Trial, kind: str, old: str, new: str) -> None:
    path = trial.data / f'{kind}.txt'
    path.write_text(path.read_text().replace(old, new))


# -- before the first iteration --------------------------------------------------------------------

CASES = {}


def case(sentence: str, name: str | None = None):
    """Register what damages a trial, with what the sentence has to say."""

    def register(damage):
        CASES[name or damage.__name__.replace('_', ' ')] = damage, sentence
        return damage

    return register


@case(r'folder \S+images/train \(data_prefix\.img_path\) does not exist; .*data_root')
def image_folder_missing(trial):
    (trial.data / 'images' / 'train').rename(trial.data / 'elsewhere')


@case(r'names train05, but its image \S+train05\.png does not exist \(1 of 6')
def image_missing(trial):
    trial.image('train05').unlink()


@case(r'names train02, but its mask \S+train02\.png is missing, its image is there')
def image_without_mask(trial):
    trial.image('train02', 'labels').unlink()


@case(r'mask \S+train01\.png holds the label 11 \(9 pixels\).* 11 classes.* 0 to 10')
def label_beyond_the_classes(trial):
    labels = np.array(Image.open(trial.image('train01', 'labels')))
    labels[-3:, -3:] = 11
    Image.fromarray(labels).save(trial.image('train01', 'labels'))


@case(r'mask \S+train01\.png .*cannot be decoded')
def truncated_mask(trial):
    path = trial.image('train01', 'labels')
    path.write_bytes(path.read_bytes()[:100])


@case(r'val00\.png')
def truncated_validation_mask(trial):
    path = trial.data / 'labels' / 'val' / 'val00.png'
    path.write_bytes(path.read_bytes()[:100])


@case(r'list \S+labeled\.txt is empty; .*splits make', 'empty labelled list')
def empty_labeled(trial):
    (trial.data / 'labeled.txt').write_text('')


@case(r'list \S+unlabeled\.txt is empty; .*splits make', 'empty unlabelled list')
def empty_unlabeled(trial):
    (trial.data / 'unlabeled.txt').write_text('\n\n')


@case(r'list \S+unlabeled\.txt does not exist; .*splits')
def list_missing(trial):
    trial.cfg.train_dataloader.dataset.unlabeled.ann_file = str(trial.folder / 'unlabeled.txt')


@case(r'names train07 more than once')
def name_twice(trial):
    rename_list_entry(trial, 'unlabeled', 'train06', 'train07')


@case(r'unlabeled names \S+train02\.png, which \S+labeled names too \(1 of 6')
def labelled_image_in_the_unlabelled_list(trial):
    rename_list_entry(trial, 'unlabeled', 'train06', 'train02')


@case(r'unlabeled names \S+train00\.png, .*\(4 of 4')
def same_list_twice(trial):
    dataset = trial.cfg.train_dataloader.dataset
    dataset.unlabeled.ann_file = dataset.labeled.ann_file


@case(r'source_ratio=\[1\] has 1 entries, but .* has 2 source')
def ratio_too_short(trial):
    trial.cfg.train_dataloader.sampler.source_ratio = [1]


@case(r'source_ratio=\[1, 0\] gives a source no image')
def ratio_of_zero(trial):
    trial.cfg.train_dataloader.sampler.source_ratio = [1, 0]


@case(r'batch_size=5 cannot be shared out by source_ratio=\[2, 2\]')
def batch_that_cannot_be_shared_out(trial):
    trial.cfg.train_dataloader.batch_size = trial.cfg.train_dataloader.sampler.batch_size = 5


@case(r'train_dataloader\.batch_size=8 differs from train_dataloader\.sampler\.batch_size=4')
def two_batch_sizes(trial):
    trial.cfg.train_dataloader.batch_size = 8


@case(r"'selftrain' needs unlabelled images, but train_dataloader\.dataset has none: give")
def no_unlabelled_images(trial):
    trial.cfg.train_dataloader.dataset.unlabeled = None
    trial.cfg.train_dataloader.sampler.source_ratio = [1]


@case(r'has 11 classes, but model\.student\.decode_head\.num_classes=7')
def classes_of_the_head(trial):
    trial.head.num_classes = 7


@case(r'LoadSegLabels\.num_classes=7, but CamVidDataset has 11 classes')
def classes_of_the_labels(trial):
    trial.cfg.train_dataloader.dataset.labeled.pipeline[1].num_classes = 7


@case(
    r"EpochBasedTrainLoop'.*IterBasedTrainLoop', max_iters=4, val_interval=2\), which is 2 passes"
)
def loop_of_epochs(trial):
    trial.cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)


@case(r'PolyLR counts epochs \(by_epoch=True\).*by_epoch=False')
def schedule_of_epochs(trial):
    trial.cfg.param_scheduler = [dict(type='PolyLR', power=0.9, end=2, by_epoch=True)]


@case(r'PolyLR brings lr to 0 at iteration 3, but the run has max_iters=6: .*end=6')
def schedule_that_ends_before_the_run(trial):
    trial.cfg.param_scheduler[0].end = 3


@case(r'AtomicCheckpointHook has by_epoch=True.*by_epoch=False')
def checkpoints_by_epoch(trial):
    trial.cfg.default_hooks.checkpoint.by_epoch = True


@case(r'log_processor\.by_epoch=True.*log_processor=dict\(by_epoch=False\)')
def log_by_epoch(trial):
    trial.cfg.log_processor = dict(by_epoch=True)


@case(r'val_begin=9 is beyond the run of max_iters=6')
def validation_beyond_the_run(trial):
    trial.cfg.train_cfg.val_begin = 9


@case(r'interval=9 is beyond the run of max_iters=6 and save_last is False')
def checkpoints_beyond_the_run(trial):
    trial.cfg.default_hooks.checkpoint.update(interval=9, save_last=False)


@case(r'a batch has 1 labelled and 1 unlabelled.* batch_size=4 .*source_ratio=\[2, 2\]')
def one_image_of_each_source(trial):
    trial.configure('ddfp', batch_size=1)


@case(
    r'val_dataloader\.batch_size=2: .*val00\.png: 48 x 36 pixels, \S+val01\.png: 40 x 36\).*batch_size=1'
)
def validation_batch_of_two_sizes(trial):
    trial.cfg.val_dataloader.batch_size = 2
    for kind in ('images', 'labels'):
        path = trial.data / kind / 'val' / 'val01.png'
        image = Image.open(path)
        image.crop((0, 0, 40, 36)).save(path)


@case(r"decode_head\.ignore_index=0, but .* label 255 .*'ignore' of the data file")
def another_ignored_label(trial):
    trial.head.ignore_index = 0


@case(r'auxiliary_head\.num_classes=7, but model\.student\.decode_head\.num_classes=11')
def classes_of_an_auxiliary_head(trial):
    head = tiny_head('FCNHead', 7, in_channels=32, in_index=2, num_convs=1)
    trial.configure('supervised').model.student.auxiliary_head = head


@case(r'model\.student: .* in_channels and in_index of the heads match the backbone')
def channels_of_the_head(trial):
    trial.head.in_channels = (8, 32)


@case(r'model\.student: .* in_channels and in_index of the heads match the backbone')
def index_of_the_head(trial):
    trial.head.in_index = (0, 4)


@case(r"'ddfp' .* student\.decode_head is DeepLabV3PlusHead without them: use .*DDFPHead")
def ddfp_on_a_head_of_one_norm(trial):
    trial.head.type = 'DeepLabV3PlusHead'
    del trial.head['split_norms']


@case(r"'ddfp' .* student\.decode_head is DDFPHead without them: use .*split_norms=True")
def ddfp_without_split_norms(trial):
    trial.head.split_norms = False


@case(r"'ddfp' splits features in halves, but student\.decode_head\.channels=15 is odd")
def ddfp_on_an_odd_width(trial):
    trial.head.channels = 15


@case(r'dgcl\.excluded_classes=\[11\] with 11 classes; expected some of 0 to 10')
def excluded_class_that_is_none(trial):
    trial.configure('dgcl').model.objectives[2].excluded_classes = (11,)


@case(r'dgcl: rows_per_step=1000, bank_size=12; expected no more new rows than a bank holds')
def bank_smaller_than_a_steps_rows(trial):
    trial.configure('dgcl').model.objectives[2].rows_per_step = 1000


@case(r"cct\.perturbations: type='ClassMix' perturbs no features; expected one of .*'GuidedCutout'")
def perturbation_that_is_none(trial):
    cct = trial.configure('cct').model.objectives[1]
    cct.perturbations = [dict(type='ClassMix', num_classes=11)]


@case(r"FeatureDrop.* unexpected keyword argument 'gamma'")
def misspelt_argument_of_a_perturbation(trial):
    cct = trial.configure('cct').model.objectives[1]
    cct.perturbations = [dict(type='FeatureDrop', gamma=0.7)]


@case(r'cct\.background_classes=\(0, 11\): the student has no class 11, its classes are 0 to 10')
def background_class_that_is_none(trial):
    trial.configure('cct').model.objectives[1].background_classes = (0, 11)


@case(r'CCTHead .*give each device at least 2 images of each kind, or set norm_cfg=.*SyncBN')
def one_image_for_a_norm_of_one_pixel(trial):
    loader = trial.configure('cct').train_dataloader
    loader.batch_size = loader.sampler.batch_size = 2
    loader.sampler.source_ratio = [1, 1]


@case(r"'mllc' learns the labels .* is ConfidenceThreshold: use .*TrainedGraphCorrection")
def mllc_without_its_labels(trial):
    trial.configure('mllc').model.pseudo_label = dict(type='ConfidenceThreshold')


@case(r"no objective trains the head's rounds: add .*MLLCObjective.* or correct .*GraphCorrection")
def rounds_that_nobody_trains(trial):
    model = trial.configure('mllc').model
    model.objectives[1] = dict(type='SelfTrainingObjective')


@case(r"'mllc' has w_inter=0\.1 .* DDFPHead has no embedding: use .*MLLCHead")
def mllc_without_an_embedding(trial):
    cfg = trial.configure('mllc')
    cfg.model.student.decode_head = tiny_head('DDFPHead', 11)


@case(r'model\.pseudo_label\.num_classes=7, but the student has 11 classes')
def correction_of_other_classes(trial):
    trial.configure('mllc').model.pseudo_label.num_classes = 7


@case(r'MLLCPlusHead: rounds=2 need an embedding')
def rounds_without_an_embedding(trial):
    trial.configure('mllc').model.student.decode_head.embedding_channels = 0


@case(r'student\.decode_head DAHead .*cls_seg')
def head_that_does_not_end_in_cls_seg(trial):
    trial.cfg.model.student.decode_head = tiny_head('DAHead', 11, pam_channels=8)


@case(r'student\.decode_head is a cascade of heads, which has no single cls_seg: use .*FCNHead')
def cascade_of_heads(trial):
    student = trial.configure('fixmatch').model.student
    student.type, student.num_stages = 'CascadeEncoderDecoder', 2
    student.decode_head = [tiny_head('FCNHead', 11), tiny_head('OCRHead', 11, ocr_channels=8)]


@case(r"needs a teacher, but model\.teacher is None: set .*weights='ema'")
def self_training_without_a_teacher(trial):
    trial.configure('fixmatch').model.teacher = None


@case(r"DDFPObjective.* unexpected keyword argument 'epsilon'")
def misspelt_argument_of_an_objective(trial):
    trial.cfg.model.objectives[2].epsilon = 4.0


@case(r"type='DDFPObjectiv' is not registered")
def misspelt_objective(trial):
    trial.cfg.model.objectives[2].type = 'DDFPObjectiv'


@case(r"model\.teacher: .*'wieghts'; its keys are .*'weights'")
def misspelt_key_of_the_teacher(trial):
    trial.cfg.model.teacher.wieghts = 'ema'


@case(r"model\.teacher\.weights='mean': expected one of")
def unknown_teacher(trial):
    trial.cfg.model.teacher.weights = 'mean'


@case(r"SemiSegmentor.* unexpected keyword argument 'objetives'")
def misspelt_key_of_the_model(trial):
    trial.cfg.model.objetives = []


@case(r'momentum=0 .*expected|momentum=0,.*expected')
def momentum_of_zero(trial):
    trial.cfg.default_hooks.teacher.momentum = 0


@case(
    r"'selftrain_strong_2' learns from the view 'strong_2', but a pipeline .*\['weak', 'strong'\]"
)
def second_strong_view_that_no_pipeline_makes(trial):
    dataset = trial.configure('unimatch').train_dataloader.dataset
    del dataset.unlabeled.pipeline[-1]['strong_2']


@case(r"branch_field=.*'strong_2'.* list the same views in all pipelines")
def pipelines_with_different_views(trial):
    dataset = trial.configure('unimatch').train_dataloader.dataset
    dataset.labeled.pipeline[-1].branch_field = ['labeled', 'weak', 'strong']


@case(r"model\.mixing has the key 'strong_3', but no objective learns from this view")
def mixing_of_a_view_that_is_not_asked_for(trial):
    model = trial.configure('unimatch').model
    model.mixing = dict(_delete_=True, strong_3=dict(type='CutMix'))
    del model.mixing['_delete_']


@case(r'no hook updates it: add .*MeanTeacherHook')
def teacher_hook_missing(trial):
    del trial.cfg.default_hooks['teacher']


@case(r'no hook fits it: add .*FlowEstimatorHook')
def flow_hook_missing(trial):
    del trial.cfg.default_hooks['flow']


@case(r'SemiStepHook')
def step_hook_missing(trial):
    del trial.cfg.default_hooks['step']


@case(r"SemiStepHook needs model\.type='SemiSegmentor', found 'EncoderDecoder'")
def plain_model_with_our_hooks(trial):
    trial.configure('supervised')
    cfg = trial.cfg
    inner = cfg.model.data_preprocessor.data_preprocessor
    cfg.model = dict(cfg.model.student, data_preprocessor=inner)
    del cfg.default_hooks['teacher']


@case(r"checkpoint '\S*gone\.pth' does not exist")
def pretrained_backbone_missing(trial):
    trial.cfg.model.student.backbone.init_cfg = dict(type='Pretrained', checkpoint='gone.pth')


@case(r"backbone\.init_cfg\.checkpoint='\S*stem\.pth' does not fit: .*stem.* has shape .* expected")
def pretrained_backbone_of_another_stem(trial):
    wider = {**trial.cfg.model.student.backbone, 'stem_channels': 16}
    torch.save(MODELS.build(wider).state_dict(), trial.folder / 'stem.pth')
    trial.cfg.model.student.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=str(trial.folder / 'stem.pth')
    )


@case(r"checkpoint '\S*gone\.pth' does not exist")
def load_from_missing(trial):
    trial.cfg.load_from = 'gone.pth'


@case(r"backbone\.init_cfg\.checkpoint='\S*v1b\.pth' does not fit: .* is missing")
def pretrained_backbone_of_another_kind(trial):
    other = {**trial.cfg.model.student.backbone, 'type': 'ResNet'}
    torch.save(MODELS.build(other).state_dict(), trial.folder / 'v1b.pth')
    trial.cfg.model.student.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=str(trial.folder / 'v1b.pth')
    )


@pytest.mark.parametrize('name', CASES)
def test_refused_before_the_first_iteration(trial, name):
    damage, sentence = CASES[name]
    damage(trial)
    error = trial.refused()
    assert re.search(sentence, error), error


def test_the_same_run_undamaged(trial):
    trial.train('--cfg-options', 'train_cfg.max_iters=2')
    assert trial.iterations == 2 and 'iter_2.pth' in trial.checkpoints()


# -- checkpoints -----------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def other_checkpoints(tmp_path_factory) -> dict[str, Path]:
    """Checkpoints of runs on other models: by what is other about them."""
    found = {}
    for name, method, head in (
        ('wider', 'ddfp', dict(channels=24)),
        ('of another method', 'fixmatch', {}),
        ('supervised', 'supervised', {}),
    ):
        folder = tmp_path_factory.mktemp('other')
        cfg = tiny_data(folder, method, iterations=1, checkpoint_interval=1)
        cfg.model.student.decode_head.update(head)
        cfg.dump(cfg.filename)
        call_tool('train', cfg.filename, '--cfg-options', f'experiment_name=other_{folder.name}')
        found[name] = folder / 'work_dir' / 'iter_1.pth'
    return found


@pytest.mark.parametrize('key', ['resume', 'load_from'])
@pytest.mark.parametrize('name', ['wider', 'of another method', 'supervised'])
def test_checkpoint_of_another_architecture(trial, other_checkpoints, name, key):
    path = other_checkpoints[name]
    option = ['--resume', path] if key == 'resume' else ['--cfg-options', f'load_from={path}']
    error = trial.refused(*option)
    assert re.search(r"'\S+iter_1\.pth' is of another architecture than .*first", error), error


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize('key', ['resume', 'load_from', 'pretrained'])
def test_malicious_checkpoint(trial, key):
    mark, path = trial.folder / 'ran', trial.folder / 'malicious.pth'
    torch.save({'state_dict': {}, 'meta': Payload(mark)}, path)
    option = {
        'resume': ['--resume', path],
        'load_from': ['--cfg-options', f'load_from={path}'],
        'pretrained': [],
    }[key]
    if key == 'pretrained':
        trial.cfg.model.student.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(path))
    error = trial.refused(*option)
    assert re.search(r"'\S+malicious\.pth' asks for .* could run code .*to-weights-only", error), (
        error
    )
    assert not mark.exists()


@pytest.mark.parametrize('key', ['resume', 'load_from'])
def test_damaged_checkpoint(trial, other_checkpoints, key):
    path = trial.folder / 'cut.pth'
    content = other_checkpoints['wider'].read_bytes()
    path.write_bytes(content[: len(content) // 2])
    option = ['--resume', path] if key == 'resume' else ['--cfg-options', f'load_from={path}']
    assert re.search(r"cut\.pth'.* is cut short", trial.refused(*option))


# -- what is known only when it happens ------------------------------------------------------------


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('damage', ['truncated', 'no image'])
def test_image_that_cannot_be_read(trial, damage, workers):
    trial.configure('fixmatch', num_workers=workers)
    path = trial.image('train08')
    path.write_bytes(
        path.read_bytes()[:300] if damage == 'truncated' else b'<html>not found</html>'
    )
    error = trial.refused(iterations=None)
    size = 300 if damage == 'truncated' else 22
    reason = 'truncated' if damage == 'truncated' else 'no image format'
    sentence = rf'image \S+train08\.png \({size} bytes\) cannot be decoded \(.*{reason}'
    assert re.search(sentence, error), error
    # six unlabelled images, two a step: it comes within the first pass, and is not skipped over
    assert trial.iterations <= 2


def test_loss_that_is_not_finite(trial):
    trial.configure('ddfp')
    trial.cfg.optim_wrapper.optimizer.lr = 1e25
    error = trial.refused(iterations=None)
    assert re.search(r'error: .*loss\S*=(nan|inf).*: not finite; nothing was updated', error), error
    # all images of the step: two labelled, two unlabelled
    images = re.findall(r'(train\d\d)\.png', error)
    assert len(images) == 4 and images[:2] < ['train04'] <= images[2:]
    # the last checkpoint is of the last finite step, and what is in memory is what it holds
    done = trial.iterations
    assert done >= 1 and f'iter_{done}.pth' in trial.checkpoints()
    assert f'iter_{done + 1}.pth' not in trial.checkpoints()
    saved = torch.load(trial.folder / 'run' / f'iter_{done}.pth', weights_only=True)
    model = trial.runner.model
    for name, parameter in model.named_parameters():
        assert_same(parameter.detach(), saved['state_dict'][name], name)
    for name, tensor in model.teacher.state_dict().items():
        assert_same(tensor, saved['state_dict'][f'teacher.{name}'], name)
    assert_same(trial.runner.optim_wrapper.state_dict()['state'], saved['optimizer']['state'])
