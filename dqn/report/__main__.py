"""Write a report: python -m dqn.report FOLDER [FOLDER ...] [--output FOLDER]."""

from dqn.report.write import main

main()
