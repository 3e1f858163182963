"""One training step: the teacher labels, mixing makes the student's view, the student passes, objectives give losses.

:meth:`SemiSegmentor.loss` is the step; the stages that it calls follow it in order.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.data.randomness import derive_seed
from mmseg_semi.errors import SetupError
from mmseg_semi.norms import statistics_kept
from mmseg_semi.step.compiling import StepCompiler
from mmseg_semi.step.data_preprocessor import SemiDataPreprocessor
from mmseg_semi.step.feature_views import Levels
from mmseg_semi.step.image_kernels import kernels_for_bands
from mmseg_semi.step.log_values import NonFiniteLossError, check_finite, read_values
from mmseg_semi.step.memory_format import set_memory_format, split_images
from mmseg_semi.step.mixing import Mixing, check_mixing, mixing_keywords
from mmseg_semi.step.networks import Networks, StudentAndTeacher
from mmseg_semi.step.objective import Needs
from mmseg_semi.step.parts import part
from mmseg_semi.step.pretrained import complete_pretraining
from mmseg_semi.step.pseudo_labels import check_labeller, image_certainty
from mmseg_semi.step.view_plan import Forward, ViewPlan
from mmseg_semi.step.views import (
    STRONG,
    Batch,
    MixedView,
    StepViews,
    StudentOutputs,
    StudentViews,
    TeacherOutputs,
    TeacherViews,
    UnlabeledBatch,
    is_strong,
)

__all__ = ['NonFiniteLossError', 'SemiSegmentor', 'check_finite', 'read_values']


@MODELS.register_module()
class SemiSegmentor(StudentAndTeacher):
    """Trains any ``EncoderDecoder`` with labelled and unlabelled images.

    In a training step the teacher labels the weak views, mixing makes the student's strong views, every image of a view passes
    the student's backbone once, and each objective turns the shared :class:`~mmseg_semi.step.views.StepViews` into losses. What no
    objective asks for is not computed. Outside training this is the plain segmentor that :attr:`predicting_network` names.

    The runner needs ``SemiStepHook`` (iteration, random streams, updates after the optimiser step) and, for an averaged
    teacher, ``MeanTeacherHook``; ``configs/_base_/default_runtime.py`` has both.

    Args:
        student: Config of an ``EncoderDecoder``. Auxiliary heads without ``num_classes`` take the decode head's.
        objectives: Configs of objectives, in the order of the log. Their names must differ.
        teacher: :class:`~mmseg_semi.step.teacher.TeacherRecipe` as a dict, or None.
        pseudo_label: Config of a pseudo-labeller, e.g. ``dict(type='ConfidenceThreshold', threshold=0.95)``.
        mixing: Config of a mixing, e.g. ``dict(type='CutMix')``, by which each strong view is mixed with draws of its own; a
            dict from strong views to configs gives each its own; None keeps strong views as they are.
        feature_views: Configs of :class:`~mmseg_semi.step.feature_views.FeatureViews`, which make views of the
            backbone's outputs, such as UniMatch's channel dropout.
        forward: 'joint' passes all images of the student in one backbone call, 'stream' each segment (labelled, each strong
            view, weak) in a separate call, a list of lists such as ``[['labeled', 'weak'], ['strong', 'strong_2']]`` those
            of each inner list. The losses differ by the BN batch statistics only.
        running_stats: With ``forward='stream'``, the segments whose batch statistics enter the running statistics of the
            student's norms: ``('labeled',)`` keeps those of the strong view out of the deployed network, ``('labeled',
            'weak')`` adds those of the weak view, which passes for this alone, without gradients, in steps with a
            strong view where no objective asks for it. None: all that pass. The segments are normalised by their batch in any case.
        iters_per_epoch: Unit of time of all schedules in ``model``, in iterations. 1 counts iterations; a paper's epoch is
            the constant number of iterations that its loader makes of it.
        monitor_interval: Costly metrics for logging (accuracies, agreements) are computed every so many iterations; the
            log interval.
        peer: A second student, which is trained on the same images beside the first; each labels for the other (cross
            pseudo supervision, CVPR 2021, arXiv 2106.01226). Config of an ``EncoderDecoder``, or True for that of ``student``
            with another initialisation; ``teacher`` then has ``weights='student'``, and pseudo-labeller, mixing and objectives are
            built for each of the two. Both are evaluated; 'student' is deployed.
        compile: Compile backbone and decode head of student and teacher for training: False, True, or a dict of
            ``torch.compile``'s ``backend``, ``mode``, ``options``, see :class:`~mmseg_semi.step.compiling.StepCompiler`.
        test_cfg: Replaces the student's ``test_cfg``; None keeps it.
        data_preprocessor: Config of a ``SemiDataPreprocessor``.
        pretrained, train_cfg: None; MMSegmentation's ``init_model`` writes both into a model's config.
        memory_format: Memory format of images, weights and feature maps, 'channels_last' or 'contiguous'. None chooses by
            device: 'channels_last' on CPUs and CUDA GPUs, on which it is faster, 'contiguous' elsewhere.

    State: ``student.*``, ``teacher.*`` (if it has tensors of its own), ``objectives.<i>.*`` and ``pseudo_label.*`` (counts)
    in the state dict; ``peer.*`` the same of a peer.

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
        forward: Forward = 'joint',
        running_stats: Sequence[str] | None = None,
        feature_views: Sequence[dict] = (),
        iters_per_epoch: int = 1,
        monitor_interval: int = 50,
        peer: dict | bool | None = None,
        compile: bool | dict = False,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        memory_format: str | None = None,
        init_cfg: dict | None = None,
        pretrained: None = None,
        train_cfg: None = None,
    ) -> None:
        if pretrained is not None or train_cfg is not None:
            raise SetupError(
                'model.pretrained or model.train_cfg is set, but nothing would read it: they belong to model.student'
            )
        if init_cfg is not None:
            raise SetupError(
                'model.init_cfg is set, but nothing would read it: initial weights belong to model.student.init_cfg or '
                'model.student.backbone.init_cfg'
            )
        if not isinstance(objectives, list | tuple):
            raise SetupError(
                f"model.objectives is {objectives!r:.100}, expected a list of objectives; write [dict(type='SupervisedObjective'), ...]"
            )
        self._check_running_stats(running_stats, forward)
        self.compiler = StepCompiler(compile)
        if iters_per_epoch < 1 or monitor_interval < 1:
            raise SetupError(
                f'model: iters_per_epoch={iters_per_epoch}, monitor_interval={monitor_interval}; expected numbers >= 1'
            )
        super().__init__(student, teacher, test_cfg, data_preprocessor, memory_format)
        if not isinstance(self.data_preprocessor, SemiDataPreprocessor):
            raise SetupError(
                f'model.data_preprocessor is a {type(self.data_preprocessor).__name__}, which knows no branches: set '
                "model.data_preprocessor=dict(type='SemiDataPreprocessor', data_preprocessor=dict("
                "type='SegDataPreProcessor', ...))"
            )
        self.running_stats = None if running_stats is None else tuple(running_stats)
        self.iters_per_epoch = iters_per_epoch
        self.monitor_interval = monitor_interval
        self.pseudo_label = MODELS.build(pseudo_label) if pseudo_label else None
        self.mixing = self._build_mixing(mixing)
        self.feature_views = nn.ModuleList(MODELS.build(views) for views in feature_views)
        self.plan = ViewPlan(forward, self.feature_views)
        self.objectives = nn.ModuleList(MODELS.build(objective) for objective in objectives)
        self.bound = Networks(
            self.student, self.teacher, self.recipe, self.pseudo_label, iters_per_epoch
        )
        self._bind()
        set_memory_format(self.objectives, self.memory_format)
        self.peer: SemiSegmentor | None = None
        if peer:
            self.peer = self._build_peer(
                copy.deepcopy(student) if peer is True else peer,
                objectives=objectives,
                teacher=teacher,
                pseudo_label=pseudo_label,
                mixing=mixing,
                forward=forward,
                running_stats=running_stats,
                feature_views=feature_views,
                iters_per_epoch=iters_per_epoch,
                monitor_interval=monitor_interval,
                test_cfg=test_cfg,
                data_preprocessor=data_preprocessor,
                memory_format=memory_format,
            )
        self._started: tuple[int, torch.Generator] | None = None
        self.paths: Sequence[str] = []
        """Image files of the current step, for errors."""
        self.last_views: StepViews | None = None
        """Views of the current step; without the student's outputs after its losses are summed, None after it."""

    def _build_peer(self, student: dict, **recipe) -> 'SemiSegmentor':
        """The peer, a recipe of its own; the students become each other's teachers."""
        for module in (*self.objectives, self.pseudo_label):
            needs = getattr(module, 'all_needs', None) or getattr(module, 'needs', Needs())
            if needs.teacher_features:
                raise SetupError(
                    f'model.peer: {type(module).__name__} compares features of teacher and student, but those of another student '
                    'mean something else: leave model.peer out, or this part'
                )
        if self.recipe is None or self.recipe.weights != 'student':
            raise SetupError(
                'model.peer: two students label for each other, but model.teacher='
                f"{recipe['teacher']}: set model.teacher=dict(weights='student', mode='train', rows='weak')"
            )
        try:
            with torch.random.fork_rng(devices=[]):  # for the reason given in _bind
                peer = SemiSegmentor(student, **recipe)
        except SetupError as error:
            raise SetupError(f'model.peer, the second student: {error}') from error
        if peer.num_classes != self.num_classes:
            raise SetupError(
                f'model.peer.decode_head.num_classes={peer.num_classes}, but the student has {self.num_classes} classes: set '
                'them equal'
            )
        self.bound.peer, peer.bound.peer = peer.bound, self.bound
        peer.compiler = self.compiler
        return peer

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The plain segmentors that can be evaluated, by name."""
        peer = {} if self.peer is None else {'peer': self.peer.student}
        return super().networks | peer

    @staticmethod
    def _build_mixing(mixing: dict | None) -> Mixing | nn.ModuleDict | None:
        """One mixing for all strong views, or a dict of one each."""
        if not mixing:
            return None
        if 'type' in mixing:
            return MODELS.build(mixing)
        return nn.ModuleDict({view: MODELS.build(config) for view, config in mixing.items()})

    @staticmethod
    def _check_running_stats(segments: Sequence[str] | None, forward: Forward) -> None:
        if segments is None:
            return
        known = ('labeled', 'mixed', 'weak')
        if isinstance(segments, str) or not {'labeled'} <= set(segments) <= set(known):
            raise SetupError(
                f'model.running_stats={segments!r}: expected None or a list of {", ".join(known)}, with labeled among them'
            )
        if forward != 'stream':
            raise SetupError(
                f"model.running_stats={list(segments)} needs model.forward='stream': with {forward!r} the images of several "
                'segments are normalised together'
            )

    def _bind(self) -> None:
        """Lets mixing, objectives and pseudo-labeller take what they need; refuses what does not fit together."""
        names = [objective.name for objective in self.objectives]
        if not names or len(set(names)) < len(names):
            raise SetupError(
                f'model.objectives: names {names}; expected at least one, all different (set `name`)'
            )
        if self.pseudo_label is not None:
            check_labeller(self.pseudo_label, 'model.pseudo_label')
        for key, mixing in self._mixings().items():
            check_mixing(mixing, key)
            mixing.bind(self.num_classes, key)
        # what an objective owns takes no random number from the student's initialisation: methods that share a seed
        # start from the same student, so their differences are paired
        with torch.random.fork_rng(devices=[]):
            for objective in self.objectives:
                objective.bind(self.bound)
        self._check_needs()
        by_view = isinstance(self.mixing, nn.ModuleDict)
        self.plan.check(self.objectives, self.mixing.keys() if by_view else None)
        if self.pseudo_label is not None:
            self.pseudo_label.bind(self.bound, self.objectives)

    def _check_needs(self) -> None:
        for objective in self.objectives:
            needs = objective.all_needs
            if needs.any_teacher and self.recipe is None:
                raise SetupError(
                    f"objective '{objective.name}' needs a teacher, but model.teacher is None: set for instance "
                    "model.teacher=dict(weights='ema')"
                )
            if needs.pseudo_labels and self.pseudo_label is None:
                raise SetupError(
                    f"objective '{objective.name}' needs pseudo-labels, but model.pseudo_label is None: set for instance "
                    "model.pseudo_label=dict(type='ConfidenceThreshold', threshold=0.95)"
                )
        declaring = [o.name for o in self.objectives if o.get_projection() is not None]
        if len(declaring) > 1:
            raise SetupError(
                f'model.objectives: {declaring} each project the features of the student, but a step has one projection: '
                'keep one DGCLObjective'
            )
        for objective in self.objectives:
            if objective.all_needs.projection and not declaring:
                raise SetupError(
                    f"objective '{objective.name}' needs a projection, but no objective declares one: override "
                    'Objective.get_projection'
                )

    def _mixings(self) -> dict[str, Mixing]:
        """The mixings by key of the config."""
        if isinstance(self.mixing, nn.ModuleDict):
            return {f'model.mixing.{view}': mixing for view, mixing in self.mixing.items()}
        return {} if self.mixing is None else {'model.mixing': self.mixing}

    @property
    def stages(self):
        """The two-stage view of the student's head; a property, because an attribute would register the head twice."""
        return self.bound.stages

    @property
    def teacher_network(self) -> nn.Module:
        """The network that labels: the teacher, or the student if it is its own teacher."""
        return self.bound.teacher_network

    def upsample(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """(N, K, h, w) -> (N, K, H, W) as the head does it, see :meth:`Networks.upsample`."""
        return self.bound.upsample(logits, size)

    def init_weights(self) -> None:
        """Initialises the student, then makes the teacher its copy."""
        # random numbers fill a tensor in the order of its memory: the weights of a seed are those of contiguous tensors
        self.to(memory_format=torch.contiguous_format)
        with (
            kernels_for_bands(self.student, self.data_preprocessor.colour),
            complete_pretraining(self.student),
        ):
            self.student.init_weights()
        for objective in self.objectives:
            objective.init_weights()
        if self.teacher is not None:
            self.teacher.load_state_dict(self.student.state_dict())
        if self.peer is not None:  # by later random numbers than the student
            with kernels_for_bands(self.peer, self.data_preprocessor.colour):
                self.peer.init_weights()
        set_memory_format(self, self.memory_format)
        self._is_init = True

    # -- training step -------------------------------------------------------------------------------------------------

    def start_step(self, iteration: int, seed: int = 0, rank: int = 0) -> None:
        """Fixes the time and the random streams of the next step; ``SemiStepHook`` calls it before each iteration.

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

    def loss(self, inputs: dict[str, Tensor], data_samples: dict[str, list]) -> dict[str, Tensor]:
        """One training step's losses and metrics for logging.

        Args:
            inputs: (N, 3, H, W) normalised images by branch, from ``SemiDataPreprocessor``.
            data_samples: The samples by branch.

        Returns:
            Losses and metrics, named ``<objective>.<key>``.
        """
        batch = self._gather(inputs, data_samples)
        if self.peer is None:
            return self._step(batch)
        # the peer mixes as the student does
        same = replace(batch, generator=batch.generator.clone_state())
        losses = self._step(batch)
        with part('peer'):
            of_peer = self.peer._step(same)
        return losses | {f'peer.{key}': value for key, value in of_peer.items()}

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        """The step of one student, in its stages."""
        needs = self._needs(batch)
        with part('teacher'):
            teacher = self._label(batch, needs) if needs.any_teacher else None
        with part('mixing'):
            teacher = self._mix(batch, teacher, needs) if needs.pseudo_labels else teacher
        with part('student'):
            student = self._pass_student(batch, teacher, needs)
        views = StepViews(batch, teacher, student)
        if needs.pseudo_labels:
            self.pseudo_label.count(views)
        losses = self._losses(views)
        if batch.monitor and needs.pseudo_labels:
            for key, value in self.pseudo_label.metrics(views).items():
                losses[f'pseudo.{key}'] = value
        self.last_views = views
        return losses

    def _gather(self, inputs: dict[str, Tensor], data_samples: dict[str, list]) -> Batch:
        """Images, labels, time and randomness of the step that :meth:`start_step` has begun."""
        if self._started is None:
            raise SetupError(
                'SemiSegmentor.loss was called without start_step: add step=dict(type="SemiStepHook") to default_hooks'
            )
        (iteration, generator), self._started = self._started, None
        inputs = {
            view: images.contiguous(memory_format=self.memory_format)
            for view, images in inputs.items()
        }
        samples = data_samples['labeled']
        paths = [sample.metainfo.get('img_path', '?') for sample in samples]
        unlabeled = None
        if 'weak' in inputs:
            self._check_sizes(inputs)
            weak, device = data_samples['weak'], inputs['weak'].device
            unlabeled = UnlabeledBatch(
                inputs['weak'],
                inputs.get('strong', inputs['weak']),
                self.data_preprocessor.stack_valid(weak, device),
                self.data_preprocessor.stack_noisy(weak, device),
                {
                    view: images
                    for view, images in inputs.items()
                    if is_strong(view) and view != STRONG
                },
            )
            paths += [sample.metainfo.get('img_path', '?') for sample in weak]
        self.paths = paths
        return Batch(
            img_l=inputs['labeled'],
            label_l=torch.stack([sample.gt_sem_seg.data.squeeze(0) for sample in samples]).long(),
            unlabeled=unlabeled,
            samples_l=samples,
            iteration=iteration,
            time=iteration / self.iters_per_epoch,
            generator=generator,
            monitor=(iteration + 1) % self.monitor_interval == 0,
            paths=paths,
        )

    def _check_sizes(self, inputs: dict[str, Tensor]) -> None:
        """Refuses labelled and unlabelled crops of two sizes if they must pass a network in one call, or are mixed."""
        labeled, weak = (tuple(inputs[name].shape[2:]) for name in ('labeled', 'weak'))
        if labeled == weak:
            return
        if any(mixing.needs_labeled for mixing in self._mixings().values()):
            raise SetupError(
                f'the pipelines give labelled crops of {labeled} and unlabelled ones of {weak} pixels (height, width), but '
                'model.mixing pastes pixels of the one over the other: set equal crop sizes, or a mixing of unlabelled '
                'images'
            )
        rows = self.recipe is not None and self.recipe.rows
        if self.plan.joins_labeled or rows == 'labeled+weak':
            raise SetupError(
                f'the pipelines give labelled crops of {labeled} and unlabelled ones of {weak} pixels (height, width), '
                "which cannot pass a network together: set equal crop sizes (or model.forward='stream' with "
                "model.teacher.rows='weak')"
            )

    def _needs(self, batch: Batch) -> Needs:
        """What objectives and pseudo-labeller ask of this step, all together."""
        needs = Needs()
        for objective in self.objectives:
            needs = needs | objective.needs(batch.time)
        if needs.pseudo_labels:
            needs = needs | self.pseudo_label.needs
        if needs.unlabeled and batch.unlabeled is None:
            raise SetupError(
                f'the batch of iteration {batch.iteration} has no unlabelled images, but an objective needs them: give '
                'train_dataloader.dataset.unlabeled and a sampler.source_ratio with two entries'
            )
        return needs

    @torch.no_grad()
    def _label(self, batch: Batch, needs: Needs) -> TeacherViews:
        """Passes images through the teacher and labels the unlabelled ones, if pseudo-labels are asked for."""
        network, unlabeled = self.teacher_network, batch.unlabeled
        stages = self.compiler.stages(network)
        with_labeled = self.recipe.rows == 'labeled+weak'
        images = torch.cat([batch.img_l, unlabeled.img_u_w]) if with_labeled else unlabeled.img_u_w
        was_training = network.training
        if self.teacher is None:  # the student labels: in its recipe's mode, for this pass only
            network.train(self.recipe.mode == 'train')
        features, logits, embedding = stages.finish(
            stages.lift(stages.embed(stages.extract_feat(images)))
        )
        if self.teacher is None:
            network.train(was_training)
        # Before torch 2.11 a pass without a graph leaves graph-free half-precision casts of its weights in autocast's
        # cache; a student with the same parameters would then train without gradients.
        torch.clear_autocast_cache()
        if not needs.teacher_features:
            features = None

        def outputs(first: int, last: int) -> TeacherOutputs:
            return TeacherOutputs(
                *(None if x is None else x[first:last] for x in (logits, features, embedding))
            )

        count = len(batch.img_l) if with_labeled else 0
        labeled = outputs(0, count) if with_labeled else None
        weak = outputs(count, len(images))
        if not needs.pseudo_labels:
            return TeacherViews(weak, labeled)
        valid = unlabeled.valid_u
        corrected, levels = self.pseudo_label.correct(weak, valid)
        torch.clear_autocast_cache()  # a correction may pass layers of the student's head
        scores = self.bound.upsample_teacher(corrected, valid.shape[1:])
        pseudo = self.pseudo_label(scores, valid, batch.time)
        if pseudo.weight is not None and not self.pseudo_label.gives_weights:
            raise SetupError(
                f'model.pseudo_label: {type(self.pseudo_label).__name__} gives weights without gives_weights=True, from which '
                'objectives know of them: set this attribute of the class'
            )
        pseudo = replace(pseudo, noisy=unlabeled.noisy_u)
        return TeacherViews(weak, labeled, pseudo, levels)

    @torch.no_grad()
    def _mix(self, batch: Batch, teacher: TeacherViews, needs: Needs) -> TeacherViews:
        """Completes the teacher's part with the views that learn its labels: mixed strong views, and feature views."""
        unlabeled, strong = batch.unlabeled, self.plan.strong(needs.views)
        certainty = None
        if any(mixing.needs_certainty for mixing in self._mixings().values()):
            certainty = image_certainty(teacher.weak.logits, unlabeled.valid_u)
        views = {view: self._mix_view(view, batch, teacher, certainty) for view in strong}
        weak = MixedView(unlabeled.img_u_w, teacher.pseudo_u, unlabeled.valid_u)
        for view, source in self.plan.sources.items():
            if view in needs.views:
                views[view] = weak if source == 'weak' else views[source]
        return replace(teacher, mixed=views.pop(STRONG, None), more=views)

    def _mix_view(
        self, view: str, batch: Batch, teacher: TeacherViews, certainty: Tensor | None
    ) -> MixedView:
        """A strong view with its labels after mixing."""
        strong = batch.unlabeled.image(view), teacher.pseudo_u, batch.unlabeled.valid_u
        mixing = self.mixing
        if isinstance(mixing, nn.ModuleDict):
            mixing = mixing[view] if view in mixing else None
        if mixing is not None:
            extra = mixing_keywords(
                mixing, labeled=(batch.img_l, batch.label_l), certainty=certainty
            )
            strong = mixing(*strong, batch.generator, **extra)
            if teacher.pseudo_u.weight is not None and strong[1].weight is None:
                raise SetupError(
                    f'model.mixing: {type(mixing).__name__} dropped the weights of the pseudo-labels: let it move '
                    'PseudoLabels.weight with the pixels, as mmseg_semi.step.mixing.mix does'
                )
        return MixedView(*strong)

    def _pass_student(
        self, batch: Batch, teacher: TeacherViews | None, needs: Needs
    ) -> StudentViews:
        """Passes the images of each view through the student once: labelled, strong and weak ones, in this order."""
        images = self._student_images(batch, teacher, needs)
        segments: dict[str, StudentOutputs] = {}
        for call in self.plan.calls([*images]):
            with self._norms(call[0]):
                segments |= self._call_student({view: images[view] for view in call}, needs)
        if 'weak' in (self.running_stats or ()) and needs.pseudo_labels and 'weak' not in images:
            self._update_norms(batch.unlabeled.img_u_w)
        known = {view: segments.pop(view, None) for view in ('labeled', STRONG, 'weak')}
        return StudentViews(known['labeled'], known[STRONG], known['weak'], segments)

    def _student_images(
        self, batch: Batch, teacher: TeacherViews | None, needs: Needs
    ) -> dict[str, Tensor]:
        """The images that pass the student's backbone, by view."""
        images = {'labeled': batch.img_l} if needs.labeled else {}
        for view in self.plan.strong(needs.views):
            images[view] = teacher.labels_of(view).img_u_m
        weak = needs.weak or needs.weak_features
        if weak or 'weak' in self.plan.image_views(needs.views):
            images['weak'] = batch.unlabeled.img_u_w
        return images

    def _norms(self, segment: str) -> AbstractContextManager:
        """Whether the pass of a segment may move the running statistics."""
        name = 'mixed' if is_strong(segment) else segment
        if self.running_stats is None or name in self.running_stats:
            return nullcontext()
        return statistics_kept(self.student)

    @torch.no_grad()
    def _update_norms(self, images: Tensor) -> None:
        """Lets images enter the running statistics of all norms, and nothing else."""
        self.student.decode_head(self.student.extract_feat(images))
        torch.clear_autocast_cache()  # for the reason given in _label

    def _call_student(self, images: dict[str, Tensor], needs: Needs) -> dict[str, StudentOutputs]:
        """Passes the images of some views through the student in one call, and their feature views through the head."""
        joined = torch.cat([*images.values()]) if len(images) > 1 else next(iter(images.values()))
        stages = self.compiler.stages(self.student)
        backbone = stages.extract_feat(joined)
        counts = [*map(len, images.values())]
        # split, not sliced: the backward pass of a slice makes a map of zeros for each segment
        parts = zip(*(split_images(level, counts) for level in backbone), strict=True)
        levels: dict[str, Levels] = dict(zip(images, parts, strict=True))
        segments = self._segments(levels, needs)
        sizes = [len(segment[0]) for segment in segments.values()]
        if [*segments] == [*images]:
            inputs = backbone
        else:
            inputs = [torch.cat(level) for level in zip(*segments.values(), strict=True)]
        fused = stages.embed(inputs)
        lifted = stages.lift(fused)
        # the weak segment is the last one of a call; without a graph where no loss reads its logits
        detached = 'weak' in segments and not needs.weak
        trained = sizes[:-1] if detached else sizes
        classified = []  # by segment: features, logits, embedding, projection
        if trained:
            count = sum(trained)
            branches = (count - count // 2, count // 2) if needs.auxiliary_half else None
            first = split_images(lifted, [count, *sizes[len(trained) :]])[0]
            classified += self._classify(first, trained, branches, needs)
        if detached:
            with torch.no_grad():
                classified += self._classify(lifted[sum(trained) :], sizes[-1:], None, needs)
            torch.clear_autocast_cache()  # for the reason given in _label
        outputs = zip(
            split_images(fused, sizes), split_images(lifted, sizes), classified, strict=True
        )
        return {
            view: StudentOutputs(segments[view], *first, *second)
            for view, (*first, second) in zip(segments, outputs, strict=True)
        }

    def _segments(self, levels: Mapping[str, Levels], needs: Needs) -> dict[str, Levels]:
        """What passes the head of a call: the views that objectives ask for, feature views before the weak one."""
        segments = {
            view: level
            for view, level in levels.items()
            if view == 'labeled' or view in needs.views
        }
        for views in self.feature_views:
            if needs.views & views.views.keys() and set(views.views.values()) <= levels.keys():
                made = views(levels)
                segments |= {view: made[view] for view in views.views if view in needs.views}
        if 'weak' in levels and (needs.weak or needs.weak_features):
            segments['weak'] = levels['weak']
        return segments

    def _classify(
        self,
        lifted: Tensor,
        sizes: list[int],
        branches: tuple[int, int] | None,
        needs: Needs,
    ) -> list[tuple[Tensor | None, ...]]:
        """Stage 2 of the head on all images of a call; its outputs and the projection of the features, by segment."""
        output = self.compiler.stages(self.student).finish(lifted, branches)
        projection = self._project(output.features) if needs.projection else None
        parts = [
            [None] * len(sizes) if x is None else split_images(x, sizes)
            for x in (*output, projection)
        ]
        return [*zip(*parts, strict=True)]

    def _project(self, features: Tensor) -> Tensor:
        """The projection that one of the objectives declares."""
        projections = (objective.get_projection() for objective in self.objectives)
        return next(layer for layer in projections if layer is not None)(features)

    def _losses(self, views: StepViews) -> dict[str, Tensor]:
        """Losses and metrics of all objectives."""
        losses: dict[str, Tensor] = {}
        for objective in self.objectives:
            with part(f'objective/{objective.name}'):
                for key, value in objective.loss(views).items():
                    losses[f'{objective.name}.{key}'] = value
        if not any('loss' in key for key in losses):
            raise SetupError(
                f'no objective has a loss at iteration {views.batch.iteration} (time {views.batch.time:g}): begin the '
                f'weights of {[objective.name for objective in self.objectives]} with a phase that trains'
            )
        return losses

    # -- after the losses ----------------------------------------------------------------------------------------------

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
        """Sums the losses and leaves all log values on the device.

        Drops the student's outputs, which only the losses' graphs need from here on: if they were held to the end of the
        step, the backward pass could not free what it has passed.
        """
        loss, log_vars = super().parse_losses(losses)
        for segmentor in filter(None, (self, self.peer)):
            if segmentor.last_views is not None:
                segmentor.last_views = segmentor.last_views.without_student()
        return loss, log_vars

    def finish_step(self) -> None:
        """Lets pseudo-labeller and objectives update counts and banks; ``SemiStepHook`` calls it after the optimiser's
        step."""
        if self.pseudo_label is not None:
            self.pseudo_label.after_step()
        for objective in self.objectives:
            objective.after_step(self.last_views)
        self.last_views = None
        if self.peer is not None:
            self.peer.finish_step()
