"""A model of several domains: one segmentor per domain, a shared backbone, the training step."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmseg.registry import MODEL_WRAPPERS, MODELS
from torch import Tensor, nn

from mmseg_semi.data.randomness import derive_seed
from mmseg_semi.errors import SetupError
from mmseg_semi.step.log_values import check_finite, read_values
from mmseg_semi.step.segmentor import SemiSegmentor
from mmseg_semi.step.teacher import TeacherRecipe
from projects.multi_domain import sharing
from projects.multi_domain.data import by_domain
from projects.multi_domain.turns import Turns, check_names, in_domain


@MODELS.register_module()
class MultiDomainSegmentor(BaseModel):
    """Train several domains with different classes over one backbone.

    It holds one ``SemiSegmentor`` per domain, whose students share modules, as do their teachers.
    This is the domains extension of CCT (Ouali et al., CVPR 2020, arXiv 2003.09005) for every
    objective: a shared encoder, and for each domain a head, objectives, pseudo-labels, mixing and
    classes of its own, which only images of this domain train. The loss is the plain sum over the
    domains.

    A domain's forward and backward pass end before the next domain's begin, so only the activations
    of one domain are in memory. Gradients add up, and one optimiser step follows. Batches of
    different domains never meet in a norm.

    The runner needs ``MultiDomainSampler``, ``DomainStepHook`` and, on several processes,
    ``MultiDomainDistributedDataParallel``; :func:`~projects.multi_domain.recipe.join` configures
    all of them.

    Args:
        domains: Config of a ``SemiSegmentor``, without ``teacher``, for each domain.
        teacher: Recipe of all domains' teachers, which share what the students share, or None.
        share: Dotted names of the student's modules to share: 'backbone', or in CCT, whose encoder
            ends behind the pyramid pooling, also 'decode_head.psp_modules' and
            'decode_head.bottleneck'.
        schedule: 'joint' or 'alternate', see :class:`~projects.multi_domain.turns.Turns`.
        turns: For 'alternate', number of consecutive steps of each domain.
        separate_statistics: Whether each domain has its own running statistics of the shared norms.
            Their weights are shared in both cases.
        iters_per_epoch: Unit of time of the teacher's ``start`` and ``copy_until`` and of the
            flow's learning rate, in iterations of the run. Schedules of a domain follow its own
            steps and its own ``iters_per_epoch``.

    State: ``shared.*``, ``shared_teacher.*``, ``domains.<name>.student.*``, ``.teacher.*``,
    ``.objectives.<i>.*`` and ``.pseudo_label.*``; a shared tensor is stored once, under its first
    name.

    Raises:
        SetupError: If names, modules or recipes do not fit together, or a domain's segmentor raises
            it.
    """

    def __init__(
        self,
        domains: dict[str, dict],
        teacher: dict | None = None,
        share: Sequence[str] = ('backbone',),
        schedule: str = 'joint',
        turns: dict[str, int] | None = None,
        separate_statistics: bool = False,
        iters_per_epoch: int = 1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        if init_cfg is not None or iters_per_epoch < 1:
            raise SetupError(
                f'model: init_cfg={init_cfg}, iters_per_epoch={iters_per_epoch}; expected None (initial weights belong to '
                'model.domains.<name>.student.backbone.init_cfg) and a number >= 1'
            )
        check_names(domains, 'model.domains')
        self.turns = Turns(domains, schedule, turns)
        self.paths = tuple(share)
        self.separate_statistics = separate_statistics
        self.iters_per_epoch = iters_per_epoch
        built: dict[str, nn.Module] = {}
        for name, config in domains.items():
            with in_domain(name):
                built[name] = self._build(dict(config), teacher)
            if len(built) == 1:
                source = built[name]
                continue
            sharing.check_paths({n: built[n].student for n in (self.turns.names[0], name)}, share)
            for path in share:  # one by one, so that never more than two backbones exist
                sharing.give_part(built[name].student, path, source.student, separate_statistics)
                if source.teacher is not None:
                    sharing.give_part(
                        built[name].teacher, path, source.teacher, separate_statistics
                    )
        sharing.check_paths({self.turns.names[0]: source.student}, share)
        # in front of the domains: a tensor's first name is the shared one
        self.shared = sharing.collect(source.student, share, separate_statistics)
        self.shared_teacher = (
            None
            if source.teacher is None
            else sharing.collect(source.teacher, share, separate_statistics)
        )
        self.domains = nn.ModuleDict(built)
        self.aliases = sharing.find_aliases(self)
        self._register_state_dict_hook(sharing.drop_aliases)
        self.register_load_state_dict_pre_hook(sharing.restore_aliases)
        self._started: tuple[int, int, int] | None = None
        self._ran: list[str] = []
        self._chosen: str | None = None

    @staticmethod
    def _build(config: dict, teacher: dict | None) -> nn.Module:
        if config.get('teacher', teacher) != teacher:
            raise SetupError(
                f'teacher={config["teacher"]}, but the teachers of all domains share a backbone and follow '
                f'model.teacher={teacher}: set it there, and remove it here'
            )
        kind = config.get('type')
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if not (isinstance(kind, type) and issubclass(kind, SemiSegmentor)):
            raise SetupError(
                f"type='{config.get('type')}': expected the config of a SemiSegmentor (for labels alone, one with a "
                'SupervisedObjective)'
            )
        return MODELS.build(config | {'teacher': teacher})

    # -- interface of hooks and optimiser --------------------------------------------------------

    @property
    def recipe(self) -> TeacherRecipe | None:
        """Recipe of the teachers, the same in all domains."""
        return next(iter(self.domains.values())).recipe

    @property
    def student(self) -> nn.Module:
        """All students, the shared modules first, for the optimiser and the teacher's EMA."""
        students = {name: domain.student for name, domain in self.domains.items()}
        return nn.ModuleDict({'shared': self.shared} | students)

    @property
    def teacher(self) -> nn.Module | None:
        """All teachers, in the order of :attr:`student`; None if the students teach themselves."""
        if self.shared_teacher is None:
            return None
        teachers = {name: domain.teacher for name, domain in self.domains.items()}
        return nn.ModuleDict({'shared': self.shared_teacher} | teachers)

    @property
    def objectives(self) -> nn.ModuleList:
        """The objectives of all domains."""
        return nn.ModuleList(o for domain in self.domains.values() for o in domain.objectives)

    def init_weights(self) -> None:
        """Initialise the domains; a shared module once, by the first domain's config."""
        source = None
        for name, domain in self.domains.items():
            with in_domain(name):
                if source is not None and self.separate_statistics:
                    self._take_initial(domain.student, source.student)
                domain.init_weights()
            source = source or domain
        self._is_init = True

    def _take_initial(self, student: nn.Module, source: nn.Module) -> None:
        """Mark shared modules as initialised, and copy the initial buffers."""
        for path in self.paths:
            mine, theirs = student.get_submodule(path), source.get_submodule(path)
            for module in mine.modules():
                if hasattr(module, '_is_init'):
                    module._is_init = True
            for own, other in zip(mine.buffers(), theirs.buffers(), strict=True):
                own.data.copy_(other)

    @property
    def num_classes(self) -> int:
        """Not defined: each domain has its own number of classes.

        Raises:
            SetupError: Always.
        """
        raise SetupError(
            'MultiDomainSegmentor has several numbers of classes, and a hook asked for the one: set default_hooks.step.type='
            "'DomainStepHook', and DomainPseudoLabelHook where there is a PseudoLabelHook"
        )

    # -- predictions ---------------------------------------------------------------------------------------------------

    @contextmanager
    def predict_in(self, domain: str) -> Iterator[None]:
        """Inside the block, predictions are those of a domain.

        Raises:
            SetupError: There is no such domain.
        """
        if domain not in self.domains:
            raise SetupError(f"domain '{domain}': this model has {list(self.domains)}")
        before, self._chosen = self._chosen, domain
        try:
            yield
        finally:
            self._chosen = before

    @contextmanager
    def predict_with(self, name: str) -> Iterator[None]:
        """Inside the block, predictions come from the network ``name``, 'teacher' or 'student', of each domain."""
        with ExitStack() as stack:
            for domain in self.domains.values():
                stack.enter_context(domain.predict_with(name))
            yield

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The plain segmentors of the chosen domain, else of the first one, by name."""
        return self.domains[self._chosen or self.turns.names[0]].networks

    @property
    def predicting_network(self) -> str:
        """Name of the network that predicts, 'teacher' or 'student'."""
        return next(iter(self.domains.values())).predicting_network

    def network(self, name: str | None = None, domain: str | None = None) -> nn.Module:
        """A plain segmentor.

        Args:
            name: 'teacher' or 'student'; default: the one that predicts.
            domain: Default: the chosen domain, else the first one.

        Raises:
            SetupError: There is no such network.
        """
        return self.domains[domain or self._chosen or self.turns.names[0]].network(name)

    def val_step(self, data: dict) -> list:
        return self._predicting_domain().val_step(data)

    def test_step(self, data: dict) -> list:
        return self._predicting_domain().test_step(data)

    def _predicting_domain(self) -> nn.Module:
        if self._chosen is None:
            raise SetupError(
                f'this model has a head for each of {list(self.domains)}: evaluate it with MultiDomainTestLoop, or write a '
                'plain model of one domain with tools/publish.py'
            )
        return self.domains[self._chosen]

    # -- training step -------------------------------------------------------------------------------------------------

    def start_step(self, iteration: int, seed: int = 0, rank: int = 0) -> None:
        """Set the time and the random streams of the next step; called by ``DomainStepHook``.

        The first domain draws as in a separate run; each other domain has a random stream of its
        own.
        """
        self._started = iteration, seed, rank

    def finish_step(self) -> None:
        """Update the objectives' banks and counts; called after the optimiser's step."""
        for name in self._ran:
            self.domains[name].finish_step()
        self._ran = []

    def forward(
        self,
        inputs: Tensor | dict[str, Tensor],
        data_samples: list | dict[str, list] | None = None,
        mode: str = 'tensor',
        domain: str | None = None,
    ):
        """A domain's own forward; ``domain`` defaults to the one that :meth:`predict_in` chose."""
        segmentor = self._predicting_domain() if domain is None else self.domains[domain]
        return segmentor(inputs, data_samples, mode=mode)

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, float]:
        """See :meth:`step_with`."""
        return self.step_with(self, data, optim_wrapper)

    def step_with(
        self, caller: nn.Module, data: dict, optim_wrapper: OptimWrapper
    ) -> dict[str, float]:
        """Run one iteration: forward and backward pass of each domain in turn, then one update.

        All log values are read in one transfer, before the last backward pass.

        Args:
            caller: The runner's model: this one, or its wrapper, which exchanges gradients in the
                last backward pass only.
            data: A batch of ``MultiDomainDataset``.
            optim_wrapper: Optimiser wrapper; sets precision, clipping and accumulation.

        Returns:
            Log values, ``<domain>.<objective>.<value>`` and ``<domain>.loss``, and their sum
            ``loss``.

        Raises:
            NonFiniteLossError: If a value of any domain is inf or NaN; names that domain's images.
        """
        if self._started is None:
            raise SetupError(
                'MultiDomainSegmentor.train_step was called without start_step: set default_hooks.step.type='
                "'DomainStepHook'"
            )
        (iteration, seed, rank), self._started = self._started, None
        turns = self.turns.at(iteration)
        batches = by_domain(data)
        if set(batches) != {name for name, _ in turns}:
            raise SetupError(
                f'the batch of iteration {iteration} is of {sorted(batches)}, but it is the turn of '
                f'{[name for name, _ in turns]}: give train_dataloader.sampler and model the same schedule and turns'
            )
        log_vars: dict[str, Tensor] = {}
        for place, (name, own_step) in enumerate(turns):
            domain, last = self.domains[name], place == len(turns) - 1
            index = self.turns.names.index(name)
            domain.start_step(own_step, derive_seed(seed, index) if index else seed, rank)
            with in_domain(name), self._forward_context(caller, optim_wrapper, last):
                batch = domain.data_preprocessor(batches.pop(name), training=True)
                losses = caller(**batch, mode='loss', domain=name)
            loss, own = domain.sum_losses(losses)
            # nothing of this domain's graph outlives its backward pass
            log_vars |= {f'{name}.{key}': value.detach() for key, value in own.items()}
            del losses, own
            if not last:
                optim_wrapper.backward(optim_wrapper.scale_loss(loss))
                optim_wrapper._inner_count -= 1  # the domains of an iteration count as one pass
        self._ran = [name for name, _ in turns]
        log_vars['loss'] = sum(log_vars[f'{name}.loss'] for name in self._ran)
        values = read_values(log_vars)
        self._check_finite(values)
        optim_wrapper.update_params(loss)
        return values

    @staticmethod
    @contextmanager
    def _forward_context(caller: nn.Module, optim_wrapper: OptimWrapper, last: bool) -> Iterator:
        """The optimiser wrapper's context, without gradient exchange before the last domain."""
        with ExitStack() as stack:
            if not last and hasattr(caller, 'no_sync'):
                stack.enter_context(caller.no_sync())
            stack.enter_context(optim_wrapper.optim_context(caller))
            yield

    def _check_finite(self, values: dict[str, float]) -> None:
        for name in self._ran:
            prefix = f'{name}.'
            own = {key: value for key, value in values.items() if key.startswith(prefix)}
            check_finite(own, self.domains[name].paths, total=f'{name}.loss')
        check_finite(values, [path for name in self._ran for path in self.domains[name].paths])


@MODEL_WRAPPERS.register_module()
class MultiDomainDistributedDataParallel(MMDistributedDataParallel):
    """MMEngine's distributed wrapper, with the step of :class:`MultiDomainSegmentor`.

    A backward pass reaches the parameters of one domain, so ``find_unused_parameters`` is set.
    Gradients of earlier domains are exchanged with the last one's.

    Args:
        kwargs: Arguments of ``MMDistributedDataParallel``.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **(kwargs | {'find_unused_parameters': True}))

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, float]:
        """See :meth:`MultiDomainSegmentor.step_with`."""
        return self.module.step_with(self, data, optim_wrapper)
