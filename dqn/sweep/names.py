"""Names for the folders of a sweep's jobs: short, readable, and different where the configurations are."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override

MAX_BYTES = 200
"""Of a folder's name; file systems take 255, and a file beside it may have an ending."""
MAX_VALUE = 40
DIGEST = 10
"""Hexadecimal digits: among 1,000 jobs two have the same ones once in 2 million sweeps."""


def fixed_keys(overrides: Iterable[Override]) -> frozenset[str]:
    """Return the keys that a command, or the recipe of a sweep, gives one value for all jobs.

    Of two overrides of one key the later one counts.
    """
    last = {one.get_key_element(): one for one in overrides}
    return frozenset(key for key, one in last.items() if not one.is_sweep_override())


def readable(words: Sequence[str], fixed: frozenset[str]) -> str:
    """Return what distinguishes a job, such as `lr=1e-3,seed=0`; "" if nothing was swept.

    Args:
        words: the overrides of the job.
        fixed: keys that all jobs have in common, with their +: a recipe's sweep may replace `+experiment`.
    """
    pairs = [word.partition("=") for word in words if not word.startswith("~")]
    values = {key.lstrip("+"): value for key, _, value in pairs if key not in fixed}
    names = shortened(list(values))
    text = ",".join(f"{names[key]}={plain(value)}" for key, value in values.items())
    return text[: MAX_BYTES - DIGEST - 1].rstrip(",=.-_")


def shortened(keys: Sequence[str]) -> dict[str, str]:
    """Return for each dotted key as many of its last parts as tell it from the others."""
    parts = {key: re.split(r"[./@:]", key) for key in keys}
    short = {}
    for key, own in parts.items():
        others = [other for name, other in parts.items() if name != key]
        length = next((n for n in range(1, len(own)) if all(own[-n:] != o[-n:] for o in others)), len(own))
        short[key] = plain(".".join(own[-length:]))
    return short


def plain(text: str) -> str:
    """Return text as part of a name that every file system and shell takes: ASCII, no slash, no space."""
    inner = re.sub(r"[^\w.+-]+", "-", text.strip("[]{}()'\" "), flags=re.ASCII)
    return inner[:MAX_VALUE]


def digest_of(config: dict[str, Any]) -> str:
    """Return the digits that a configuration, resolved and checked, has to itself."""
    text = yaml.safe_dump(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST]


def folders_by_digest(sweep: Path) -> dict[str, str]:
    """Return the names of the job folders in a sweep's folder by the digits that they end with."""
    if not sweep.is_dir():
        return {}
    names = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    return {m[1]: name for name in names if (m := re.search(rf"(?:^|_)([0-9a-f]{{{DIGEST}}})$", name))}


def folder_name(text: str, digest: str) -> str:
    return f"{text}_{digest}" if text else digest
