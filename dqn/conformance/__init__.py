"""Whether parts do what the others rely on: tried on a composed configuration, a user's own parts too."""

from dqn.conformance.examine import Finding, examine
from dqn.conformance.subject import Subject

__all__ = ["Finding", "Subject", "examine"]
