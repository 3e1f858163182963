"""Data set, sampler and batches of several domains."""

import itertools
from collections.abc import Iterator
from typing import Any

from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmseg.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import DataLoader, Dataset, Sampler

from mmseg_semi.data.randomness import derive_seed
from mmseg_semi.data.samplers import MultiSourceSampler, SampleKey
from mmseg_semi.data.semi_dataset import SemiDataset
from mmseg_semi.errors import SetupError
from mmseg_semi.step.data_preprocessor import BRANCHES
from projects.multi_domain.turns import Turns, check_names, in_domain

_KEY = 'train_dataloader.dataset.domains'


@DATASETS.register_module()
class MultiDomainDataset(Dataset):
    """Concatenate one :class:`~mmseg_semi.data.semi_dataset.SemiDataset` per domain.

    The metainfo of a data sample names its domain under ``domain``.

    Args:
        domains: Config of a ``SemiDataset`` for each domain.
        lazy_init: Whether to read lists and check files later, in ``full_init``.

    Raises:
        SetupError: If a ``SemiDataset`` raises it (with the domain's name added), or a domain has
            no labelled images.
    """

    def __init__(self, domains: dict[str, dict], lazy_init: bool = False) -> None:
        check_names(domains, _KEY)
        self.domains: dict[str, SemiDataset] = {}
        for name, config in domains.items():
            if not config or not config.get('labeled'):
                raise SetupError(
                    f"domain '{name}' has no labelled images, from which its head could learn the classes: set "
                    f'{_KEY}.{name}.labeled'
                )
            with in_domain(name):
                self.domains[name] = DATASETS.build(
                    {'type': 'SemiDataset'} | dict(config) | {'lazy_init': True}
                )
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the lists and check them, once."""
        for name, dataset in self.domains.items():
            with in_domain(name):
                dataset.full_init()
        ends = list(itertools.accumulate(len(dataset) for dataset in self.domains.values()))
        self.offsets = dict(zip(self.domains, [0, *ends], strict=False))

    @property
    def metainfo(self) -> dict[str, dict]:
        """Classes and palette of each domain."""
        return {name: dataset.metainfo for name, dataset in self.domains.items()}

    @property
    def protocol(self) -> dict[str, Any]:
        """``SemiDataset.protocol`` of each domain."""
        return {name: dataset.protocol for name, dataset in self.domains.items()}

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.domains.values())

    def __getitem__(self, key: int | SampleKey | None) -> dict | None:
        """Load and augment one image; None is an empty place in a batch."""
        if key is None:
            return None
        index = key.index if isinstance(key, SampleKey) else key
        if not 0 <= index < len(self):
            raise IndexError(index)
        name = next(name for name in reversed(self.domains) if self.offsets[name] <= index)
        local = index - self.offsets[name]
        with in_domain(name):
            sample = self.domains[name][
                SampleKey(local, key.seed) if isinstance(key, SampleKey) else local
            ]
        # a domain without a strong view may have fewer branches than the others
        sample = {
            part: {branch: values.get(branch) for branch in (*BRANCHES, *values)}
            for part, values in sample.items()
        }
        for data in sample['data_samples'].values():
            if data is not None:
                data.set_metainfo(dict(domain=name))
        return sample


@DATA_SAMPLERS.register_module()
class MultiDomainSampler(Sampler):
    """Sample the domains in the order of :class:`Turns`, each by its own ``MultiSourceSampler``.

    Every source of every domain is an endless stream, so a smaller domain repeats independently of
    the others. A joint batch holds the parts of all domains, one behind the other. If domains
    alternate, a batch holds one domain, and None fills it up to the largest domain's batch size
    (:func:`domain_collate`).

    Args:
        dataset: A :class:`MultiDomainDataset`.
        samplers: For each domain the arguments of its sampler, at least ``batch_size`` and
            ``source_ratio``.
        schedule, turns: The same as in the model.
        batch_size: Batch size of the loader; default that of the domains together.
        seed: Seed of order and augmentation of the first domain; the others' follow from it. None
            draws one. May be reassigned before iteration begins.

    Raises:
        SetupError: If the names differ from the data set's, the batch size differs from that of the
            domains, or a domain's sampler raises it.
    """

    def __init__(
        self,
        dataset: MultiDomainDataset,
        samplers: dict[str, dict],
        schedule: str = 'joint',
        turns: dict[str, int] | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        if not hasattr(dataset, 'domains') or set(samplers) != set(dataset.domains):
            raise SetupError(
                f'train_dataloader.sampler.samplers are of {sorted(samplers)}, but train_dataloader.dataset has '
                f'{sorted(getattr(dataset, "domains", []))}: give each domain of a MultiDomainDataset a sampler'
            )
        self.dataset = dataset
        self.turns = Turns(dataset.domains, schedule, turns)
        self.samplers: dict[str, MultiSourceSampler] = {}
        for name in self.turns.names:
            with in_domain(name):
                arguments = {key: v for key, v in samplers[name].items() if key != 'type'}
                self.samplers[name] = MultiSourceSampler(
                    dataset.domains[name], **{'seed': seed} | arguments
                )
        sizes = [sampler.batch_size for sampler in self.samplers.values()]
        self.batch_size = sum(sizes) if schedule == 'joint' else max(sizes)
        if batch_size not in (None, self.batch_size):
            raise SetupError(
                f'train_dataloader.sampler.batch_size={batch_size}, but the batches of the domains, {sizes}, make '
                f'{self.batch_size} images with {self.turns}'
            )
        self.seed = next(iter(self.samplers.values())).seed
        self._start = 0

    @property
    def seed(self) -> int:
        """Seed of the first domain; the others' seeds follow from it."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._seed = seed
        for index, sampler in enumerate(self.samplers.values()):
            sampler.seed = derive_seed(seed, index) if index else seed

    def __iter__(self) -> Iterator[SampleKey | None]:
        """Yield keys endlessly, from the place set by :meth:`skip` (else from 0)."""
        streams = {}
        for name, steps in self.turns.steps(self._start).items():
            self.samplers[name].skip(steps * self.samplers[name].batch_size)
            streams[name] = iter(self.samplers[name])
        for iteration in itertools.count(self._start):
            keys: list[SampleKey | None] = []
            for name, _ in self.turns.at(iteration):
                offset = self.dataset.offsets[name]
                part = itertools.islice(streams[name], self.samplers[name].batch_size)
                keys += [SampleKey(key.index + offset, key.seed) for key in part]
            yield from keys + [None] * (self.batch_size - len(keys))

    def skip(self, num_samples: int) -> None:
        """Start the next iteration at another place, without loading anything.

        Args:
            num_samples: Number of this rank's samples before that place: iterations x batch size.
        """
        self._start, rest = divmod(num_samples, self.batch_size)
        if num_samples < 0 or rest:
            raise ValueError(
                f'num_samples={num_samples} is no multiple of the batch size {self.batch_size}'
            )

    def check_loader(self, loader: DataLoader) -> None:
        """Check that the data loader forms the batches of this sampler.

        Raises:
            SetupError: If the loader's batch size differs, or its collate function cannot handle
                empty places.
        """
        found = getattr(loader.batch_sampler, 'batch_size', loader.batch_size)
        if found != self.batch_size:
            raise SetupError(
                f'train_dataloader.batch_size={found}, but the domains make batches of {self.batch_size} images with '
                f'{self.turns}: set it to {self.batch_size}'
            )
        collate = getattr(loader.collate_fn, 'func', loader.collate_fn)
        sizes = {sampler.batch_size for sampler in self.samplers.values()}
        if self.turns.schedule == 'alternate' and len(sizes) > 1 and collate is not domain_collate:
            raise SetupError(
                f'the domains alternate with batches of {sorted(sizes)} images: set train_dataloader.collate_fn='
                "dict(type='domain_collate')"
            )

    def __len__(self) -> int:
        """Number of images in the data set (iteration itself never ends)."""
        return len(self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Part of the sampler interface; has no effect, because the stream has no epochs."""


@FUNCTIONS.register_module()
def domain_collate(samples: list[dict | None]) -> dict:
    """MMEngine's ``pseudo_collate`` without empty places."""
    return pseudo_collate([sample for sample in samples if sample is not None])


def by_domain(data: dict) -> dict[str, dict]:
    """Split a batch of :class:`MultiDomainDataset` by domain, ordered by their first samples."""
    samples = data['data_samples']
    places: dict[str, list[int]] = {}
    for place, views in enumerate(zip(*samples.values(), strict=True)):
        names = [view.metainfo.get('domain') for view in views if view is not None]
        if not names or names[0] is None:
            raise SetupError(
                'a sample of the batch is of no domain: set train_dataloader.dataset.type='
                "'MultiDomainDataset', and let MultiBranch fill at least one branch"
            )
        places.setdefault(names[0], []).append(place)
    return {
        name: {
            part: {branch: [values[i] for i in own] for branch, values in data[part].items()}
            for part in ('inputs', 'data_samples')
        }
        for name, own in places.items()
    }
