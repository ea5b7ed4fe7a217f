"""The output of the commands: the summary of a run, and errors without a traceback."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

from dqn.errors import UserError
from dqn.storage.folder import RunFolder

log = logging.getLogger(__name__)


class OptionalOutput(io.FileIO):
    """Standard output that falls silent where it cannot be written: a closed pipe ends no work."""

    def write(self, data: object) -> int:
        """Write bytes; at the first error report it on standard error, and drop everything from then on."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            with suppress(OSError):
                print(f"the output ends here ({error.strerror}); the command continues", file=sys.stderr)
            return len(memoryview(data))  # type: ignore[arg-type]


def optional(output: TextIO | None) -> TextIO:
    """Return this process's standard output as an OptionalOutput; any other object is returned unchanged."""
    if output is None:  # closed before the start; the next file would take its number
        return open(os.devnull, "w")
    if output is not sys.__stdout__ or not isinstance(output, io.TextIOWrapper):
        return output
    raw = OptionalOutput(output.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), output.encoding, "backslashreplace", line_buffering=output.line_buffering
    )


def print_summary(folder: RunFolder) -> None:
    """Log the summary of a finished run."""
    from dqn.config.summary import summary  # imports NumPy

    for line in summary(folder):
        log.info("%s", line)


@contextmanager
def plain_errors(log_level: int | None = None) -> Iterator[None]:
    """Exit without a traceback after a UserError, which is printed, Ctrl-C, or without memory.

    With a level, log to stdout, as Hydra does for train.
    """
    with redirect_stdout(optional(sys.stdout)):
        if log_level is not None:
            logging.basicConfig(level=log_level, format="%(message)s", stream=sys.stdout)
        try:
            yield
        except UserError as error:
            if error.__cause__ is not None and os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            sys.exit(str(error))
        except MemoryError as error:
            sys.exit(f"out of memory ({error})")
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            sys.stdout.flush()
