"""Whether parts do what the others rely on: tried on a composed configuration, a user's own parts too."""

from dqn.conformance.candidate import Subject
from dqn.conformance.examine import Finding, examine

__all__ = ["Finding", "Subject", "examine"]
