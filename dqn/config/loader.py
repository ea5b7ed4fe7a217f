"""Hydra's composition without its global state: it works in any program, also in a Hydra application."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig

from dqn.config.paths import CONF

COMPOSING = threading.Lock()
"""The version that Hydra is compatible with is a global of its own."""

StrPath = str | os.PathLike[str]
SEARCHPATH = "hydra.searchpath"


class Loader:
    """Composes conf/ and what a user adds to it.

    Args:
        config_dir: a folder of further options, None for none; `hydra.searchpath` may name more.
    """

    def __init__(self, config_dir: StrPath | None) -> None:
        path = create_config_search_path(str(CONF))
        if config_dir is not None:  # where Hydra's own command line puts it
            folder = f"file://{os.path.abspath(config_dir)}"
            path.prepend("command-line", folder, anchor=SearchPathQuery(provider="schema"))
        self.hydra = ConfigLoaderImpl(path)

    def compose(self, words: list[str]) -> DictConfig:
        """Return the configuration of overrides, with Hydra's own node."""
        return self.hydra.load_configuration("config", words, RunMode.RUN, from_shell=False)

    def options(self, group: str, searchpath: Sequence[Override]) -> list[str]:
        """Return the options of a group; none where there is no such group."""
        words = [str(override.input_line) for override in searchpath]
        return self.hydra.get_group_options(group, ObjectType.CONFIG, "config", words)


@contextmanager
def loading(config_dir: StrPath | None) -> Iterator[Loader]:
    """Give a loader, and leave Hydra's globals as they were."""
    with COMPOSING:
        base = version.VersionBase.instance()
        before = base.version_base
        version.setbase("1.3")
        setup_globals()  # the resolvers ${now:} and ${hydra:}
        try:
            yield Loader(config_dir)
        finally:
            base.version_base = before


def unavailable(override: Override) -> list[str]:
    """Return the places of a `hydra.searchpath` override that are not there."""
    places = override.value()
    texts = [str(place) for place in places] if isinstance(places, list) else []
    return [text for text in texts if not is_available(text)]


def is_available(place: str) -> bool:
    scheme, colon, path = place.rpartition("://")
    source = SourcesRegistry.instance().resolve(scheme if colon else "file")
    return source(provider="", path=f"{scheme or 'file'}://{path}").available()
