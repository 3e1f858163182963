"""Benchmarks of DDFP for ``tools/benchmark.py``, see :mod:`mmseg_semi.runtime.benchmarks`."""

from mmseg_semi.methods.ddfp.benchmarks import flow

BENCHMARKS = {'flow': flow.BENCHMARK}
