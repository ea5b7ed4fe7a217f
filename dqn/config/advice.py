"""The advice about an override that names no option or no key: the nearest ones."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from dqn.config.meanings import RECIPES, Option, meanings, read_folder
from dqn.config.nearest import closest, nearest_keys, nearest_options
from dqn.config.overrides import CONFIG_NAME, chosen, in_shell
from dqn.env.known import choices
from dqn.errors import first_line, format_value
from dqn.storage.flatten import settings


def read_options(loader: ConfigLoaderImpl, searchpath: Sequence[str]) -> list[Option]:
    """Return the options of all groups in the folders of a loader and in further ones."""
    paths = [*(source.path for source in loader.get_sources()), *searchpath]
    folders = dict.fromkeys(Path(path.removeprefix("file://")) for path in paths if path)
    return [option for folder in folders if folder.is_dir() for option in read_folder(folder)]


class Advisor:
    """Knows the options in the folders of a loader, and says what is nearest to one that does not exist.

    Args:
        loader: the loader that composes.
        searchpath: the overrides of `hydra.searchpath`.
    """

    def __init__(self, loader: ConfigLoaderImpl, searchpath: Sequence[Override]) -> None:
        self.loader = loader
        self._overrides = [str(override.input_line) for override in searchpath]
        self._folders = [str(folder) for override in searchpath for folder in override.value()]  # type: ignore[union-attr]

    @cached_property
    def options(self) -> list[Option]:
        """All options but those of Hydra itself; reading them takes some hundredths of a second."""
        found = read_options(self.loader, self._folders)
        return [option for option in found if not option.group.startswith("hydra")]

    @cached_property
    def parts(self) -> list[Option]:
        """The options without recipes and config.yaml."""
        return [option for option in self.options if option.group and not option.is_recipe]

    def listed(self, group: str, kind: ObjectType) -> list[str]:
        """Return the names of the options, or of the folders, of a group."""
        return list(self.loader.get_group_options(group, kind, CONFIG_NAME, self._overrides))

    def names(self, group: str, *, in_folders: bool) -> list[str]:
        """Return the names of a group's options, also of those in its folders, such as zoo/acrobot."""
        names = self.listed(group, ObjectType.CONFIG)
        for folder in self.listed(group, ObjectType.GROUP) if in_folders else ():
            names += [f"{folder}/{option}" for option in self.listed(f"{group}/{folder}", ObjectType.CONFIG)]
        return names

    def wrong_option(self, override: Override) -> str | None:
        """Return the problem of an override that chooses options that its group does not have."""
        group = override.key_or_group
        is_recipe = override.is_add() or group == RECIPES
        names = self.names(group, in_folders=is_recipe)
        if not names or override.is_delete():
            return None
        later = r"[\[$]|/.*/" if is_recipe else r"[\[$/]"  # only composing shows whether these exist
        wrong = [one for one in chosen(override) if one not in names and not re.search(later, str(one))]
        if not wrong:
            return None
        near = games = choices(str(wrong[0])) if group == "env" else []
        if is_recipe:
            same = [name for name in names if name.rpartition("/")[2] == wrong[0]]
            near = [f"+{group}={name}" for name in same or closest(str(wrong[0]), names)]
        elif wrong[0] is not None and not games:
            others = [f"{group}={name}" for name in closest(str(wrong[0]), names)]
            near = self.chosen_words(group, str(wrong[0])) or others  # Hydra's own
        given, known = ",".join(map(format_value, wrong)), ", ".join(names)
        is_any_id = group == "env" and not games
        any_id = f"; for any other environment env=base env.id={given}" if is_any_id else ""
        if not near:
            return f"{group}={given}: should be one of {known}{any_id}"
        there = "" if is_recipe else f"; there {'are' if names[1:] else 'is only'} {known}"
        return f"{group}={given}: no such option; type {' or '.join(near)}{there}{any_id}"

    def chosen_words(self, group: str, name: str) -> list[str]:
        """Return the overrides that choose the options nearest to one that does not exist."""
        return [f"{one.group}={one.name}" for one in nearest_options(group, name, self.parts)]

    def explain(self, override: Override, error: Exception, config: DictConfig) -> str:
        """Return the message about an override that Hydra refuses; `config` is what the others compose."""
        line, text, reason = str(override.input_line), str(error), first_line(error)
        if text.startswith("In ") and "Could not override" in text:
            order = "a recipe that changes another one comes after it in a list, +experiment=[FIRST,SECOND]"
            return f"{line}: {reason.rstrip('.')}; {order}"
        group = override.key_or_group
        if f"Could not find '{group}/{override.value()}'" in text:  # such as env=minatar/breakout
            near = choices(str(override.value())) if group == "env" else []
            there = f"should be one of {', '.join(self.names(group, in_folders=True))}"
            return f"{line}: {f'type {near[0]}' if near else there}"
        option = in_shell(line.lstrip("+")) if override.is_add() else "one option"
        signs = {
            "already at": f"the key exists already; type {in_shell(line[1:])} to change its value",
            "Multiple values for": f"should be {option}",
            "To append to your default list": f"should be {in_shell(f'+{line}')}",
        }
        known = next((advice for sign, advice in signs.items() if sign in text), None)
        is_unknown = "Could not override" in text or "does not exist" in text
        return f"{line}: {known or (is_unknown and self.unknown_key(override, config)) or reason}"

    def unknown_key(self, override: Override, config: DictConfig) -> str | None:
        """Return what to type instead of a key that the configuration lacks; None if it has the key."""
        line, key = str(override.input_line), override.key_or_group
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(config, parent)
        if isinstance(node, DictConfig) and name in node:
            return (
                f"lacks some of these keys; type {in_shell(f'+{line}')} to add them" if "{" in line else None
            )
        if parent and node == {}:
            return f"no such key; type {in_shell(f'+{line}')} to add it"
        while not isinstance(node, DictConfig):
            parent = parent.rpartition(".")[0]
            node = OmegaConf.select(config, parent)
        keys = (
            ", ".join(str(one) for one in node if not str(one).startswith("_") and one != "hydra") or "none"
        )
        there = f"{f'{parent} has' if parent else 'there are'} {keys}"
        words, is_guess = self.instead_of(key.replace("/", "."), line.partition("=")[2], config)
        if not words:
            return f"no such key; {there}"
        typed = " or ".join(words)
        return f"no such key; did you mean {typed}? {there}" if is_guess else f"no such key; type {typed}"

    def instead_of(self, key: str, value: str, config: DictConfig) -> tuple[list[str], bool]:
        """Return what to type instead of KEY=VALUE without such a key, and whether that is a guess."""
        raw: Any = OmegaConf.to_container(config)
        composed = [one for one, _ in settings(raw) if not one.startswith("hydra.")]
        comments = meanings(self.options, {})
        others = {key.name: comments.get(key.name, "") for one in self.parts for key in one.own_keys}
        near, is_guess = nearest_keys(key, [{one: comments.get(one, "") for one in composed}, others])
        if "." not in key and (is_guess or not near) and (words := self.chosen_words("", key)):
            return words, False  # such as dueling=true
        if is_guess:
            near = [one for one in near if not self.is_group(one)]
        return [self.typed(one, value, is_composed=one in composed) for one in near], is_guess

    def is_group(self, key: str) -> bool:
        return any(option.group == key.replace(".", "/") for option in self.parts)

    def brings(self, override: Override, error: Exception) -> bool:
        """Return whether an override fails only because an option with its key is not chosen."""
        keys = (own.name for one in self.parts for own in one.own_keys)
        return "Could not override" in str(error) and override.key_or_group in keys

    def typed(self, key: str, value: str, *, is_composed: bool) -> str:
        """Return an override of a key or group that exists, perhaps in an option that is not chosen."""
        if self.is_group(key):
            group = key.replace(".", "/")
            there = [word for word in self.chosen_words(group, value) if word.startswith(f"{group}=")]
            return there[0] if there else in_shell(f"{group}={value}")
        word = in_shell(f"{key}={value}" if value else f"~{key}")
        bring = [f"{one.group}={one.name}" for one in self.parts if key in [own.name for own in one.own_keys]]
        if is_composed or not bring:
            return word
        others = f" (or with {' or '.join(bring[1:])})" if bring[1:] else ""
        return f"{bring[0]} {word}{others}"
