"""Write a report on runs: python scripts/report.py FOLDER [FOLDER ...] [--output FOLDER].

It is of all runs in the folders: report.html (a page that needs nothing else), PNGs, report.md, report.csv.
"""

from dqn.report.write import main

if __name__ == "__main__":
    main()
