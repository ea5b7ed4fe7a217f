"""Write a report on runs: python scripts/report.py FOLDER [FOLDER ...] [--output FOLDER].

It covers all runs in the folders: report.html (a self-contained page), PNGs, report.md, report.csv.
"""

import checkout  # noqa: F401 (first: it finds the package)

from dqn.cli.report import report

if __name__ == "__main__":
    report()
