"""The output of the commands: the summary of a run, and errors without a traceback."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dqn.errors import UserError
from dqn.storage.folder import RunFolder

log = logging.getLogger(__name__)


def print_summary(folder: RunFolder) -> None:
    """Log the summary of a finished run."""
    from dqn.config.summary import summary  # imports NumPy

    for line in summary(folder):
        log.info("%s", line)


def log_to_stdout(level: int = logging.INFO) -> None:
    """Log plain messages to stdout, as Hydra does for train."""
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Exit without a traceback after a UserError, which is printed, or Ctrl-C."""
    try:
        yield
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
