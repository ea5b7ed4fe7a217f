"""Checks that the parts of a composed configuration, custom parts included, do what other parts rely on."""

from dqn.conformance.candidate import Candidate
from dqn.conformance.examine import Finding, examine

__all__ = ["Candidate", "Finding", "examine"]
