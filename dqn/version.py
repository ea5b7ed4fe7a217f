"""The version of this package: the only place of its number."""

__version__ = "0.2.0"
