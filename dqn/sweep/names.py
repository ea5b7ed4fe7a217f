"""Folder names of a sweep's jobs: short, readable, and different for different configurations."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

MAX_BYTES = 200
"""Longest folder name; file systems allow 255 bytes, and a file beside it may add an ending."""
MAX_VALUE = 40
"""Most characters of a value in a name."""
DIGEST = 10
"""Hexadecimal digits of a digest: two of 1,000 jobs collide once in 2 million sweeps."""


def parse_overrides(
    loader: ConfigLoader, params: dict[str, Any] | None, overrides: Sequence[str]
) -> list[Override]:
    """Return the parsed `params` of a sweeper, followed by the parsed overrides of the command."""
    values = [f"{key}={value}" for key, value in (params or {}).items()]
    return OverridesParser.create(config_loader=loader).parse_overrides([*values, *overrides])


def fixed_keys(overrides: Iterable[Override]) -> frozenset[str]:
    """Return the keys with one value for all jobs; the last override of a key counts."""
    last = {one.get_key_element(): one for one in overrides}
    return frozenset(key for key, one in last.items() if not one.is_sweep_override())


def readable(overrides: Sequence[str], fixed: frozenset[str]) -> str:
    """Return the swept part of a job's overrides, such as `lr=1e-3,seed=0`; "" if nothing is swept.

    Args:
        overrides: the overrides of the job.
        fixed: keys that all jobs share, with their +: a recipe's sweep may replace `+experiment`.
    """
    pairs = [override.partition("=") for override in overrides if not override.startswith("~")]
    values = {key.lstrip("+"): value for key, _, value in pairs if key not in fixed}
    names = shortened(list(values))
    text = ",".join(f"{names[key]}={plain(value)}" for key, value in values.items())
    return text[: MAX_BYTES - DIGEST - 1].rstrip(",=.-_")


def shortened(keys: Sequence[str]) -> dict[str, str]:
    """Return for each dotted key the shortest ending that no other key has."""
    parts = {key: re.split(r"[./@:]", key) for key in keys}
    short = {}
    for key, own in parts.items():
        others = [other for name, other in parts.items() if name != key]
        length = next((n for n in range(1, len(own)) if all(own[-n:] != o[-n:] for o in others)), len(own))
        short[key] = plain(".".join(own[-length:]))
    return short


def plain(text: str) -> str:
    """Return text that every file system and shell accepts in a name: ASCII, no slash, no space."""
    inner = re.sub(r"[^\w.+-]+", "-", text.strip("[]{}()'\" "), flags=re.ASCII)
    return inner[:MAX_VALUE]


def digest_of(config: dict[str, Any]) -> str:
    """Return the digest of a resolved configuration."""
    text = yaml.safe_dump(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST]


def folders_by_digest(sweep: Path) -> dict[str, str]:
    """Return the names of the job folders in a sweep's folder, by the digest at their end."""
    if not sweep.is_dir():
        return {}
    names = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    return {m[1]: name for name in names if (m := re.search(rf"(?:^|_)([0-9a-f]{{{DIGEST}}})$", name))}


def folder_name(text: str, digest: str) -> str:
    return f"{text}_{digest}" if text else digest
