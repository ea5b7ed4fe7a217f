"""Resume an interrupted run: python scripts/resume.py RUN [runner.total_steps=N]."""

from dqn.cli.main import resume

if __name__ == "__main__":
    resume()
