"""The report of a run: one HTML page in its folder, made at every validation and by ``mmseg-semi report``."""

from mmseg_semi.runtime.report.collect import DATA, PAGE, Run, read_run
from mmseg_semi.runtime.report.hook import ReportHook
from mmseg_semi.runtime.report.page import make_page, write_page

__all__ = ['DATA', 'PAGE', 'ReportHook', 'Run', 'make_page', 'read_run', 'write_page']
