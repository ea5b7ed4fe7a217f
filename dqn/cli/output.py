"""What the commands print for the user."""

import logging

from dqn.storage.folder import RunFolder

log = logging.getLogger(__name__)


def print_summary(folder: RunFolder) -> None:
    """Log what a finished run reached and what can be done next, where the user wants logs: on stdout."""
    from dqn.config.summary import summary  # imports NumPy

    for line in summary(folder):
        log.info("%s", line)
