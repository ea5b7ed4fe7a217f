"""Resume an interrupted run: python scripts/resume.py RUN [runner.total_steps=N]."""

import checkout  # noqa: F401 (first: it finds the package)

from dqn.cli.main import resume

if __name__ == "__main__":
    resume()
