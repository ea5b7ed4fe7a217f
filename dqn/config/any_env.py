"""The meaning of `env.id=ID` alone: the all-round values of `env=base`, with any registered environment."""

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from dqn.config.compose import COMPOSING, StrPath, compose_valid, hydra_globals, make_loader
from dqn.config.overrides import CONFIG_NAME
from dqn.config.paths import CONF


def with_base(words: Sequence[str], config_dir: StrPath | None = None) -> list[str]:
    """Return the overrides of a command, with `env=base` before an id if nothing else chooses an environment.

    The default environment's values are meant for it alone. A recipe keeps the option that it chooses.
    """
    keys = [word.partition("=")[0].lstrip("+") for word in words]
    if "env.id" not in keys or "env" in keys or ("experiment" in keys and recipe_chooses(words, config_dir)):
        return list(words)
    position = keys.index("env.id")
    return [*words[:position], "env=base", *words[position:]]


def recipe_chooses(words: Sequence[str], config_dir: StrPath | None) -> bool:
    """Return whether a recipe among the overrides chooses another option of `env` than the default."""
    with COMPOSING, hydra_globals():
        config, _ = compose_valid(words, make_loader(config_dir), multirun=True)
    defaults: Any = OmegaConf.load(CONF / f"{CONFIG_NAME}.yaml").defaults
    (default,) = (entry["env"] for entry in defaults if "env" in entry)
    return bool(config.hydra.runtime.choices["env"] != default)
