"""Benchmarks of DGCL for ``tools/benchmark.py``, see :mod:`mmseg_semi.runtime.benchmarks`."""

from mmseg_semi.methods.dgcl.benchmarks import contrast
from mmseg_semi.methods.dgcl.benchmarks.contrast import prepare

BENCHMARKS = {'contrast': contrast.BENCHMARK}

__all__ = ['BENCHMARKS', 'prepare']
