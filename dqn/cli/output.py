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


@contextmanager
def plain_errors(log_level: int | None = None) -> Iterator[None]:
    """Exit without a traceback after a UserError, which is printed, or Ctrl-C.

    With a level, log to stdout, as Hydra does for train.
    """
    if log_level is not None:
        logging.basicConfig(level=log_level, format="%(message)s", stream=sys.stdout)
    try:
        yield
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
