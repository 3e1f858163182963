"""Settings of the whole test suite."""

import torch

# One thread a process: the order of float additions, hence every last bit, then does not depend
# on the machine, and processes that run side by side do not fight for cores.
torch.set_num_threads(1)
