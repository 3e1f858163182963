"""Make the report of a run anew from what is in its folder, with other runs beside it.

No checkpoint and no image is opened. Classes, confusions and validation images come from report_data.json, which ReportHook
writes at every validation; of a run without it the page shows scores, curves and the config.

Examples:
    mmseg-semi report work_dirs/fixmatch/camvid_46_lite0
    mmseg-semi report work_dirs/fixmatch/camvid_46_lite0 --beside work_dirs/supervised/camvid_46_lite0
"""

import argparse
from pathlib import Path

from mmseg_semi.cli.common import tool
from mmseg_semi.runtime.report import PAGE, read_run, write_page
from mmseg_semi.runtime.report.advice import advise


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', type=Path, help='work folder of the run')
    parser.add_argument(
        '--beside',
        type=Path,
        nargs='+',
        default=[],
        metavar='WORK_DIR',
        help='work folders of runs to compare it with, such as the supervised one',
    )
    parser.add_argument('--out', type=Path, help=f'file to write; default WORK_DIR/{PAGE}')
    return parser.parse_args(arguments)


@tool
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    run, beside = read_run(args.work_dir), [read_run(folder) for folder in args.beside]
    path = args.out or args.work_dir / PAGE
    write_page(run, beside, path)
    for advice in advise(run, beside):
        print(f'- {advice.what}\n  {advice.why}')
    print(f'report: {path}')
