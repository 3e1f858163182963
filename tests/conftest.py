"""Settings of the whole test suite."""

import pytest
import torch

# One thread a process: the order of float additions, hence every last bit, then does not depend
# on the machine, and processes that run side by side do not fight for cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope='session')
def _configs_without_layout():
    """MMEngine lays a config out with yapf in every checkpoint: most of the time of a tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
        yield
