"""A student, a teacher, and a list of objectives over shared views."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.data.randomness import derive_seed
from mmseg_semi.errors import SetupError
from mmseg_semi.heads.two_stage import two_stage
from mmseg_semi.step.parts import part
from mmseg_semi.step.pretrained import complete_pretraining
from mmseg_semi.step.teacher import TeacherRecipe, build_teacher
from mmseg_semi.step.views import Needs, StepViews, StudentRows, TeacherRows


class NonFiniteLossError(RuntimeError):
    """A loss is inf or NaN; raised before the optimiser, the teacher or a checkpoint is touched."""


@MODELS.register_module()
class SemiSegmentor(BaseSegmentor):
    """Semi-supervised training of any ``EncoderDecoder``.

    A training step: the teacher labels the weak views, mixing makes the student's strong views, the student passes every
    image once, and each objective turns the shared :class:`~mmseg_semi.step.views.StepViews` into losses. What no
    objective asks for is not computed. Outside training this is the plain segmentor :attr:`answering` names.

    The runner needs ``SemiStepHook`` (iteration, random streams, updates after the optimiser step) and, for an averaged
    teacher, ``MeanTeacherHook``; ``configs/_base_/default_runtime.py`` has both.

    Args:
        student: Config of an ``EncoderDecoder``.
        objectives: Configs of objectives, in the order of the log. Their names must differ.
        teacher: :class:`~mmseg_semi.step.teacher.TeacherRecipe` as a dict, or None.
        pseudo_label: Config of a pseudo-labeller, e.g. ``dict(type='ConfidenceThreshold', threshold=0.95)``.
        mixing: Config of a mixing, e.g. ``dict(type='CutMix')``, or None: the strong view as it is.
        forward: 'joint' passes all student rows in one backbone call, 'stream' labelled and unlabelled rows in one call
            each. The losses differ by the BN batch statistics only.
        iters_per_epoch: Unit of time of all schedules in ``model``, in iterations. 1 counts iterations; a paper's epoch is
            the constant number of iterations that its loader makes of it.
        monitor_interval: Quantities for people (accuracies, agreements) are computed every so many iterations; the log
            interval.
        test_cfg: None; the student's own ``test_cfg`` holds.
        data_preprocessor: Config of a ``SemiDataPreprocessor``.

    State: ``student.*``, ``teacher.*`` (if it has tensors of its own), ``objectives.<i>.*`` and ``pseudo_label.*`` (counts)
    in the state dict.

    Raises:
        SetupError: Objectives whose needs the recipe cannot meet; a head that cannot serve; unknown keys or values.
    """

    def __init__(
        self,
        student: dict,
        objectives: Sequence[dict],
        teacher: dict | None = None,
        pseudo_label: dict | None = None,
        mixing: dict | None = None,
        forward: str = 'joint',
        iters_per_epoch: int = 1,
        monitor_interval: int = 50,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if init_cfg is not None:
            raise SetupError(
                'model.init_cfg is set, but nothing would read it: initial weights belong to model.student.init_cfg or '
                'model.student.backbone.init_cfg'
            )
        if forward not in ('joint', 'stream'):
            raise SetupError(f"model.forward='{forward}': expected 'joint' or 'stream'")
        if iters_per_epoch < 1 or monitor_interval < 1:
            raise SetupError(
                f'model: iters_per_epoch={iters_per_epoch}, monitor_interval={monitor_interval}; expected numbers >= 1'
            )
        if not hasattr(self.data_preprocessor, 'stack_valid'):
            raise SetupError(
                f'model.data_preprocessor is a {type(self.data_preprocessor).__name__}, which knows no branches: set '
                "model.data_preprocessor=dict(type='SemiDataPreprocessor', data_preprocessor=dict("
                "type='SegDataPreProcessor', ...))"
            )
        self.calls = forward
        self.iters_per_epoch = iters_per_epoch
        self.monitor_interval = monitor_interval
        self.student = MODELS.build(student)
        if test_cfg is not None:
            self.student.test_cfg = test_cfg
        two_stage(self.student.decode_head)  # refuses a head that cannot serve, by name
        self.align_corners = self.student.align_corners
        self.num_classes = self.student.num_classes
        self.out_channels = self.student.out_channels  # read by SegTTAModel
        self.recipe = self._read_recipe(teacher)
        self.teacher = build_teacher(self.student, self.recipe) if self.recipe else None
        self.pseudo_label = MODELS.build(pseudo_label) if pseudo_label else None
        self.mixing = MODELS.build(mixing) if mixing else None
        self.objectives = nn.ModuleList(MODELS.build(objective) for objective in objectives)
        # an objective that wants Needs.projection sets this from `bind`: (N, C, h, w) features -> (N, D, h, w)
        self.project: Callable[[Tensor], Tensor] | None = None
        for key in ('mixing', 'pseudo_label'):
            classes = getattr(getattr(self, key), 'num_classes', self.num_classes)
            if classes != self.num_classes:
                raise SetupError(
                    f'model.{key}.num_classes={classes}, but the student has {self.num_classes} classes: set them equal'
                )
        names = [objective.name for objective in self.objectives]
        if not names or len(set(names)) < len(names):
            raise SetupError(
                f'model.objectives: names {names}; expected at least one, all different (set `name`)'
            )
        # what an objective owns takes no random number from the student's initialisation: methods that share a seed
        # start from the same student, so their differences are paired
        with torch.random.fork_rng(devices=[]):
            for objective in self.objectives:
                objective.bind(self)
        self._check_needs()
        if hasattr(self.pseudo_label, 'check'):
            self.pseudo_label.check(self)
        self.classes: Sequence[str] | None = None
        """Names of the classes, once the hooks know the data; for texts in the log."""
        self._answer = self.answering
        self._started: tuple[int, torch.Generator] | None = None
        self.paths: list[str] = []
        self.last_views: StepViews | None = None

    @staticmethod
    def _read_recipe(teacher: dict | None) -> TeacherRecipe | None:
        if teacher is None:
            return None
        try:
            return TeacherRecipe(**teacher)
        except TypeError as error:
            raise SetupError(
                f'model.teacher: {error}; its keys are {list(TeacherRecipe.__annotations__)}'
            ) from error

    def _check_needs(self) -> None:
        for objective in self.objectives:
            needs = objective.all_needs
            if (needs.teacher or needs.strong) and self.recipe is None:
                raise SetupError(
                    f"objective '{objective.name}' needs a teacher, but model.teacher is None: set for instance "
                    "model.teacher=dict(weights='ema')"
                )
            if needs.strong and self.pseudo_label is None:
                raise SetupError(
                    f"objective '{objective.name}' needs pseudo-labels, but model.pseudo_label is None: set for instance "
                    "model.pseudo_label=dict(type='ConfidenceThreshold', threshold=0.95)"
                )

    # -- networks ------------------------------------------------------------------------------------------------------

    @property
    def stages(self):
        """The two-stage view of the student's head; no attribute, which would register the head twice."""
        return two_stage(self.student.decode_head)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The plain segmentors that can be evaluated, by name; a teacher that is the student counts once."""
        networks = {} if self.teacher is None else {'teacher': self.teacher}
        return networks | {'student': self.student}

    @property
    def answering(self) -> str:
        """Which network answers: 'teacher' where it has weights of its own, else 'student'."""
        return 'teacher' if self.recipe is not None and self.recipe.weights == 'ema' else 'student'

    def network(self, name: str | None = None) -> nn.Module:
        """The plain segmentor 'teacher' or 'student'; default: the one that answers.

        Raises:
            SetupError: This recipe has no such network.
        """
        name = name or self.answering
        if name not in self.networks:
            raise SetupError(
                f"network '{name}': this model has {list(self.networks)}; choose one of them"
            )
        return self.networks[name]

    @contextmanager
    def answer_with(self, name: str) -> Iterator[None]:
        """Inside the block, predictions come from the network ``name``."""
        self.network(name)
        before, self._answer = self._answer, name
        try:
            yield
        finally:
            self._answer = before

    @property
    def teacher_network(self) -> nn.Module:
        """The network that labels: the teacher, or the student where it is its own teacher."""
        return self.student if self.teacher is None else self.teacher

    def train(self, mode: bool = True) -> 'SemiSegmentor':
        """Sets the mode of everything but the teacher, which keeps its recipe's mode in training."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.train(mode and self.recipe.mode == 'train')
        return self

    def init_weights(self) -> None:
        """Initialises the student, then makes the teacher its copy."""
        with complete_pretraining(self.student):
            self.student.init_weights()
        for objective in self.objectives:
            objective.init_weights()
        if self.teacher is not None:
            self.teacher.load_state_dict(self.student.state_dict())
        self._is_init = True

    # -- mmseg's interface ---------------------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor):
        return self.network(self._answer).extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_data_samples: list) -> Tensor:
        return self.network(self._answer).encode_decode(inputs, batch_data_samples)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        return self.network(self._answer).predict(inputs, data_samples)

    def _forward(self, inputs: Tensor, data_samples: list | None = None):
        return self.network(self._answer)._forward(inputs, data_samples)

    # -- training step -------------------------------------------------------------------------------------------------

    def start_step(self, iteration: int, seed: int = 0, rank: int = 0) -> None:
        """Fixes the time and the random streams of the next step; called by ``SemiStepHook`` before each iteration.

        Dropout and other device draws follow from the global torch generators, host draws (mixing) from a CPU generator;
        both are seeded from (seed, rank, iteration), so that a resumed run draws what an uninterrupted one does.
        """
        step_seed = derive_seed(seed, rank, iteration)
        if next(self.student.parameters()).device.type == 'cpu':
            # what torch.manual_seed does there, which would also note a stack trace for devices that are not in use
            torch.default_generator.manual_seed(step_seed)
        else:
            torch.manual_seed(step_seed)
        self._started = iteration, torch.Generator().manual_seed(step_seed)

    def finish_step(self) -> None:
        """Lets pseudo-labeller and objectives update counts and banks; called by ``SemiStepHook`` after the optimiser's
        step."""
        if hasattr(self.pseudo_label, 'after_step'):
            self.pseudo_label.after_step()
        for objective in self.objectives:
            objective.after_step(self.last_views)
        self.last_views = None

    def loss(self, inputs: dict[str, Tensor], data_samples: dict[str, list]) -> dict[str, Tensor]:
        """One training step's losses and log values.

        Args:
            inputs: (N, 3, H, W) normalised images by branch, from ``SemiDataPreprocessor``.
            data_samples: The samples by branch.

        Returns:
            Losses named ``<objective>.<loss>``.
        """
        if self._started is None:
            raise SetupError(
                'SemiSegmentor.loss was called without start_step: add step=dict(type="SemiStepHook") to default_hooks'
            )
        (iteration, generator), self._started = self._started, None
        views = self._gather(inputs, data_samples, iteration, generator)
        needs = Needs()
        for objective in self.objectives:
            needs = needs | objective.needs(views.time)
        if needs.strong:
            needs = needs | getattr(self.pseudo_label, 'needs', Needs())
        if needs.unlabeled and views.img_u_w is None:
            raise SetupError(
                f'the batch of iteration {iteration} has no unlabelled images, but an objective needs them: give '
                'train_dataloader.dataset.unlabeled and a sampler.source_ratio with two entries'
            )
        with part('teacher'):
            if needs.teacher or needs.strong:
                self._label(views, needs)
        with part('mixing'):
            if needs.strong:
                self._mix(views)
        with part('student'):
            self._student_rows(views, needs)
        losses: dict[str, Tensor] = {}
        for objective in self.objectives:
            with part(f'objective/{objective.name}'):
                for key, value in objective.loss(views).items():
                    losses[f'{objective.name}.{key}'] = value
        if views.monitor and needs.strong and hasattr(self.pseudo_label, 'watch'):
            for key, value in self.pseudo_label.watch(views, self).items():
                losses[f'pseudo.{key}'] = value
        if not any('loss' in key for key in losses):
            raise SetupError(
                f'no objective has a loss at iteration {iteration} (time {views.time:g}): begin the weights of '
                f'{[objective.name for objective in self.objectives]} with a phase that trains'
            )
        self.last_views = views
        return losses

    def _gather(
        self, inputs, data_samples, iteration: int, generator: torch.Generator
    ) -> StepViews:
        samples = data_samples['labeled']
        views = StepViews(
            iteration=iteration,
            time=iteration / self.iters_per_epoch,
            generator=generator,
            monitor=(iteration + 1) % self.monitor_interval == 0,
            img_l=inputs['labeled'],
            label_l=torch.stack([sample.gt_sem_seg.data.squeeze(0) for sample in samples]).long(),
            samples_l=samples,
            paths=[sample.metainfo.get('img_path', '?') for sample in samples],
        )
        if 'weak' in inputs:
            self._check_sizes(inputs)
            views.img_u_w, views.img_u_s = inputs['weak'], inputs.get('strong', inputs['weak'])
            views.valid_u = self.data_preprocessor.stack_valid(
                data_samples['weak'], views.img_u_w.device
            )
            views.given_u = self.data_preprocessor.stack_given(
                data_samples['weak'], views.img_u_w.device
            )
            views.paths += [sample.metainfo.get('img_path', '?') for sample in data_samples['weak']]
        self.paths = views.paths
        return views

    def _check_sizes(self, inputs: dict[str, Tensor]) -> None:
        """Labelled and unlabelled crops that pass a network in one call must have one size."""
        rows = self.recipe is not None and self.recipe.rows
        if self.calls == 'stream' and rows != 'labeled+weak':
            return
        labeled, weak = (tuple(inputs[name].shape[2:]) for name in ('labeled', 'weak'))
        if labeled != weak:
            raise SetupError(
                f'the pipelines give labelled crops of {labeled} and unlabelled ones of {weak} pixels (height, width), '
                "which cannot pass a network together: set equal crop sizes (or model.forward='stream' with "
                "model.teacher.rows='weak')"
            )

    @torch.no_grad()
    def _label(self, views: StepViews, needs: Needs) -> None:
        """The teacher's rows and, where mixing or self-training will want them, pseudo-labels."""
        network = self.teacher_network
        head = two_stage(network.decode_head)
        with_labeled = self.recipe.rows == 'labeled+weak'
        images = torch.cat([views.img_l, views.img_u_w]) if with_labeled else views.img_u_w
        was_training = network.training
        if self.teacher is None:  # the student labels: in its recipe's mode, for these rows only
            network.train(self.recipe.mode == 'train')
        features, logits, embedding = head.finish(
            head.lift(head.embed(network.extract_feat(images)))
        )
        if self.teacher is None:
            network.train(was_training)
        # Before torch 2.11 a pass without a graph leaves graph-free half-precision casts of its weights in autocast's
        # cache; a student with the same parameters would then train without gradients.
        torch.clear_autocast_cache()
        if not needs.teacher_features:
            features = None
        count = views.img_l.shape[0] if with_labeled else 0

        def rows(first: int, last: int) -> TeacherRows:
            return TeacherRows(
                *(None if x is None else x[first:last] for x in (logits, features, embedding))
            )

        if with_labeled:
            views.teacher_l = rows(0, count)
        views.teacher_u = rows(count, len(images))
        if needs.strong:
            answer = views.teacher_u.logits
            if hasattr(self.pseudo_label, 'correct'):
                with part('correction'):
                    answer = self.pseudo_label.correct(views, self)
                torch.clear_autocast_cache()
            views.pseudo_u = self.pseudo_label(
                self.upsample(answer, views.valid_u.shape[1:]), views.valid_u, views.time
            )
            views.pseudo_u.given = views.given_u

    @torch.no_grad()
    def _mix(self, views: StepViews) -> None:
        views.img_u_m, views.pseudo_m, views.valid_m = views.img_u_s, views.pseudo_u, views.valid_u
        if self.mixing is not None:
            views.img_u_m, views.pseudo_m, views.valid_m = self.mixing(views)

    def _student_rows(self, views: StepViews, needs: Needs) -> None:
        """Every image passes the student once; rows are labelled, mixed, weak, in this order."""
        wanted = [
            ('student_l', views.img_l, needs.labeled),
            ('student_m', views.img_u_m, needs.strong),
            ('student_w', views.img_u_w, needs.weak or needs.weak_features),
        ]
        wanted = [(name, images) for name, images, asked in wanted if asked]
        if not wanted:
            return
        calls = [wanted] if self.calls == 'joint' else [[one] for one in wanted]
        for call in calls:
            images = torch.cat([images for _, images in call]) if len(call) > 1 else call[0][1]
            backbone = self.student.extract_feat(images)
            fused = self.stages.embed(backbone)
            lifted = self.stages.lift(fused)
            sizes = [len(images) for _, images in call]
            # rows whose answer nobody learns from are the last ones
            unlearned = call[-1][0] == 'student_w' and not needs.weak
            learned = sizes[:-1] if unlearned else sizes
            outputs = []  # one a name of the call
            if learned:
                count = sum(learned)
                branches = (count - count // 2, count // 2) if needs.auxiliary_half else None
                outputs += self._answers(lifted[:count], learned, branches, needs)
            if unlearned:
                with torch.no_grad():
                    outputs += self._answers(lifted[sum(learned) :], sizes[-1:], None, needs)
                torch.clear_autocast_cache()  # for the reason given in _label
            # split, not sliced: its backward pass makes one map of zeros, not one a part
            levels = zip(*(level.split(sizes) for level in backbone), strict=True)
            fused, lifted = fused.split(sizes), lifted.split(sizes)
            for (name, _), *rows, output in zip(call, levels, fused, lifted, outputs, strict=True):
                setattr(views, name, StudentRows(*rows, *output))

    def _answers(
        self,
        lifted: Tensor,
        sizes: list[int],
        branches: tuple[int, int] | None,
        needs: Needs,
    ) -> list[tuple[Tensor | None, ...]]:
        """Stage 2 on all rows at once; its outputs, and the projection of the features, by runs of rows."""
        output = self.stages.finish(lifted, branches)
        projection = self.project(output.features) if needs.projection else None
        parts = [
            [None] * len(sizes) if x is None else x.split(sizes) for x in (*output, projection)
        ]
        return [*zip(*parts, strict=True)]

    def upsample(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """(N, K, h, w) -> (N, K, H, W) as the head does it: by its ``fit``, else bilinear with its ``align_corners``."""
        fit = getattr(self.stages, 'fit', None)
        if fit is not None:
            return fit(logits, size)
        return resize(
            logits,
            size=tuple(size),
            mode='bilinear',
            align_corners=self.align_corners,
            warning=False,
        )

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Sums the losses and reads all log values in one transfer: the step's only host synchronisation.

        Raises:
            NonFiniteLossError: A loss or log value is inf or NaN, with its name and the images of the step.
        """
        loss, log_vars = self.sum_losses(losses)
        log_values = read_values(log_vars)
        check_finite(log_values, self.paths)
        return loss, log_values

    def sum_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """:meth:`parse_losses` without the read: the sum, and all log values on the device.

        Lets go of the student's rows, which only the losses' graphs need from here on: held to the end of the step, they
        would keep the backward pass from freeing what it has passed.
        """
        loss, log_vars = super().parse_losses(losses)
        if self.last_views is not None:
            self.last_views.drop_student_rows()
        return loss, log_vars


def read_values(log_vars: Mapping[str, Tensor]) -> dict[str, float]:
    """0-dim tensors as numbers, in one transfer."""
    values = torch.stack([value.detach().float().reshape(()) for value in log_vars.values()])
    return dict(zip(log_vars, values.tolist(), strict=True))


def check_finite(
    log_values: Mapping[str, float], paths: Sequence[str], total: str = 'loss'
) -> None:
    """Refuses log values that are not finite.

    Args:
        log_values: By name.
        paths: Image files of the step, for the error.
        total: Name of the sum, which the error leaves out where it can name a part.

    Raises:
        NonFiniteLossError: A value is inf or NaN.
    """
    broken = [name for name, value in log_values.items() if not math.isfinite(value)]
    if broken:
        names = [name for name in broken if name != total] or broken
        raise NonFiniteLossError(
            f'{", ".join(f"{name}={log_values[name]}" for name in names)}: not finite; nothing was updated. '
            'Lower optim_wrapper.optimizer.lr, or look whether it is one of the images of this step: '
            f'{", ".join(paths)}'
        )
