"""The grammar of mistakes: a module an area, which registers its kinds when it is imported."""

from . import (  # noqa: F401
    checkpoints,
    commands,
    configs,
    data_files,
    exports,
    folders,
    images,
    lists,
    masks,
    shards,
)
