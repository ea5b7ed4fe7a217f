"""Export a run's policy: python scripts/export.py RUN FILE.onnx [seed=0], or FILE.pt2."""

import checkout  # noqa: F401 (first: it finds the package)

from dqn.cli.main import export

if __name__ == "__main__":
    export()
