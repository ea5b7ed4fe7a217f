"""README names only what is there: files, places in it, scripts and options."""

import re

import pytest
from helpers import ROOT

README = (ROOT / "README.md").read_text()
TABLE = README.partition("What can be switched")[2].partition("What it is not")[0]
ROWS = re.findall(r"^\| `\+?(\w+)` \| (.*?) \|", TABLE, re.MULTILINE)


def anchors() -> set[str]:
    titles = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links():
    links = re.findall(r"\]\(([^)]*)\)", README)
    places = {link.removeprefix("#") for link in links if link.startswith("#")}
    files = [link for link in links if not link.startswith(("#", "https://"))]
    assert places <= anchors()
    assert len(files) >= 3
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_scripts():
    names = set(re.findall(r"scripts/\w+\.py", README))
    assert len(names) >= 6
    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(("group", "cell"), ROWS, ids=[group for group, _ in ROWS])
def test_options(group, cell):
    options = re.findall(r"`(\w+)`", cell)
    assert options
    assert [name for name in options if not (ROOT / "conf" / group / f"{name}.yaml").exists()] == []
