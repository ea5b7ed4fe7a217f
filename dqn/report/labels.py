"""Names of settings: the overrides in which the runs of a folder differ, as their user typed them."""

from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TypeVar

from dqn.errors import one_line
from dqn.storage.overrides import typed

K = TypeVar("K")

LABEL_LENGTH = 60
"""Most characters of a label, unless its overrides have more even with short keys."""
DEFAULT = "default"
"""Label of the setting with none of the overrides that the others have."""


def swept(runs: Sequence[Mapping[str, str]], ignored: Set[str] = frozenset()) -> list[str]:
    """Return the keys in whose values the overrides of `runs` differ, in the order of the overrides."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return [key for key in keys if key not in ignored and len({run.get(key) for run in runs}) > 1]


def label(overrides: Mapping[str, str], keys: Mapping[str, str]) -> str:
    """Return some overrides as a label, with the name that `keys` gives to each key."""
    return ", ".join(f"{name}={overrides[key]}".rstrip("=") for key, name in keys.items() if key in overrides)


def labels(overrides: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[str]:
    """Return the label of each of several settings.

    A key is displayed as its last part where that makes long labels shorter and no other has the same.
    """
    last = [key.rpartition(".")[2] for key in keys]
    short = {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}
    full = [label(one, {key: key for key in keys}) for one in overrides]
    if max(map(len, full), default=0) <= LABEL_LENGTH:
        return full
    return [label(one, short) for one in overrides]


def job_labels(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Return the label of each job of a sweep, "" where it has no override that others lack."""
    pairs = [typed(one, {}) for one in overrides]
    return labels(pairs, swept(pairs))


def folder_names(folders: Iterable[Path]) -> dict[Path, str]:
    """Return for each folder the shortest end of its path that no other has."""
    ends = distinct_ends({folder: folder.parts for folder in folders})
    return {folder: one_line("/".join(end)) for folder, end in ends.items()}


def distinct_ends(parts: Mapping[K, Sequence[str]]) -> dict[K, Sequence[str]]:
    """Return for each key the shortest end of its parts that no other key has."""
    ends = {}
    for key, own in parts.items():
        others = [other for one, other in parts.items() if one != key]
        length = next((n for n in range(1, len(own)) if all(own[-n:] != o[-n:] for o in others)), len(own))
        ends[key] = own[-length:]
    return ends
