"""The overrides with which a run was started, as keys and values."""

from collections.abc import Iterable, Mapping

from dqn.errors import one_line


def typed(overrides: Iterable[str], config: Mapping[str, str]) -> dict[str, str]:
    """Return overrides as keys and values, without Hydra's own; of two for one key the last counts.

    A value is that of the flattened configuration, where 1e-3 is 0.001, except where an override without a
    dot chooses an option of a group, as agent=double does.
    """
    pairs = {}
    for override in overrides:
        name, _, value = one_line(override).partition("=")
        key = name.lstrip("+")
        if not key.lstrip("~").startswith(("hydra.", "hydra/")):
            pairs[key] = config.get(key, value) if "." in key else value
    return pairs
