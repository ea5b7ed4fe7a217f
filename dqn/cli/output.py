"""What the commands print for the user."""

import logging
from collections.abc import Iterable

log = logging.getLogger(__name__)


def print_lines(lines: Iterable[str]) -> None:
    """Log lines as Hydra's configuration of logging shows them: on stdout, and where the user wants them."""
    for line in lines:
        log.info("%s", line)
