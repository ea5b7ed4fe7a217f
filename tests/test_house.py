"""How the repository is laid out."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from helpers import ROOT, TESTS

from dqn import errors
from dqn.config.paths import CONF
from dqn.storage.flatten import leaves

PACKAGES = ("dqn", "hydra_plugins")
MOST_LINES = 300
TEXTS = [ROOT / name for name in ("conf", "dqn", "docs", "hydra_plugins", "scripts")]
SUFFIXES = {".md", ".py", ".toml", ".txt", ".yaml"}
STRANGER = re.compile(r"""pip install [^\n]*?["' ]dqn\b(?![/-])|(?<![\w-])dqn\[[a-z]+[],]""")
WITHOUT_PACKAGE = {"scripts", "docs", "reference_values", "user"}
"""Folders of tests that do not mirror a folder of dqn/."""


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_files_are_short(package):
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules(ROOT / package)
    }
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_nothing_imports_a_test():
    """What several tests need is a module of its own below tests/."""
    tests = {path.stem for path in modules(TESTS) if path.stem.startswith("test_")} | {"conftest"}
    assert {str(path): names for path in modules(TESTS) if (names := imported(path) & tests)} == {}


def test_tests_mirror_the_package():
    folders = {path.parent for path in modules(TESTS) if path.stem.startswith("test_")} - {TESTS}
    names = {folder.relative_to(TESTS).parts[0] for folder in folders} - WITHOUT_PACKAGE
    assert {name for name in names if not (ROOT / "dqn" / name).is_dir()} == set()


def test_no_stranger_is_installed():
    """`dqn` on the public registry is another project, whose build code pip would run."""
    texts = {
        path: path.read_text() for folder in TEXTS for path in folder.rglob("*.*") if path.suffix in SUFFIXES
    }
    texts |= {path: path.read_text() for path in ROOT.iterdir() if path.suffix in SUFFIXES}
    assert len(texts) > 200
    found = {str(path): mentions for path, text in texts.items() if (mentions := STRANGER.findall(text))}
    assert found == {}
    assert STRANGER.search('pip install -U "dqn[video]"')
    assert STRANGER.search("needs dqn[search]")


def test_an_extra_is_installed_from_where_the_package_is(tmp_path, monkeypatch):
    assert errors.install("video") == 'pip install -c constraints.txt -e ".[video]"'
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "dqn" / "errors.py"))
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    assert errors.install("video") == f'pip install "{name}[video]"'


def test_targets_stand_at_package_level():
    """`dqn.agent.Double`, not the file of the class: files may be split and renamed."""
    targets = {
        value
        for path in CONF.rglob("*.yaml")
        for key, value in leaves(yaml.safe_load(path.read_text()))
        if key.endswith("_target_") and value.startswith("dqn.") and not value.startswith("dqn.cli.")
    }
    assert len(targets) > 20
    assert {target for target in targets if not is_at_package_level(target)} == set()


def is_at_package_level(target: str) -> bool:
    """Return whether a package, or a module directly below dqn/, has the name."""
    *parent, _ = target.split(".")
    return ROOT.joinpath(*parent).is_dir() or len(parent) == 2


@pytest.mark.parametrize(
    ("target", "right"),
    [("dqn.agent.Double", True), ("dqn.schedule.Linear", True), ("dqn.agent.backup.Double", False)],
)
def test_package_level(target, right):
    assert is_at_package_level(target) is right
