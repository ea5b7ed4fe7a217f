"""Log lines of runs in Python sessions."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm


class Printer(logging.Handler):
    """Prints records to stdout, above a progress bar; those that the user's logging prints are left to it.

    Args:
        level: the least level of records that the user's logging handles.
    """

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= self._level and logging.root.hasHandlers():
            logging.root.handle(record)
        else:
            tqdm.write(self.format(record), file=sys.stdout)


@contextmanager
def log_shown() -> Iterator[None]:
    """Print this package's log lines while the body runs, unless the user configured their logging.

    The user did if a handler gets them, or if the logger `dqn` has a level.
    """
    ours = logging.getLogger("dqn")
    if ours.level != logging.NOTSET or (ours.isEnabledFor(logging.INFO) and ours.hasHandlers()):
        yield
        return
    printer = Printer(ours.getEffectiveLevel())
    propagate = ours.propagate
    ours.addHandler(printer)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    try:
        yield
    finally:
        ours.removeHandler(printer)
        ours.setLevel(logging.NOTSET)
        ours.propagate = propagate
