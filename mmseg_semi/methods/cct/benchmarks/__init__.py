"""Benchmarks of CCT for ``tools/benchmark.py``, see :mod:`mmseg_semi.runtime.benchmarks`."""

from mmseg_semi.methods.cct.benchmarks import auxiliary

BENCHMARKS = {'auxiliary': auxiliary.BENCHMARK}
