"""Benchmarks of MLLC for ``tools/benchmark.py``, see :mod:`mmseg_semi.runtime.benchmarks`."""

from mmseg_semi.methods.mllc.benchmarks import graphs

BENCHMARKS = {'graphs': graphs.BENCHMARK}
