"""The version of this package, which run folders record."""

VERSION = "0.2.0"
