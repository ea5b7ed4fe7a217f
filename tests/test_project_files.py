"""The files that other programs read: CITATION.cff, Dockerfile and .dockerignore.

`docker build` needs a Docker daemon, so the image is not built here.
"""

import re
import tomllib

import pytest
import yaml
from helpers import ROOT
from packaging.specifiers import SpecifierSet

import dqn

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines()
    if line and not line.startswith("#")
]


def test_the_citation():
    """It was validated by cffconvert; these are the schema's required keys, and what has to stay equal."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert all(author.keys() == {"name"} for author in citation["authors"])
    assert citation["version"] == dqn.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"][0]["name"] in (ROOT / "LICENSE").read_text()


def test_both_stages_start_from_one_pinned_python():
    bases = [argument for word, argument in INSTRUCTIONS if word == "FROM"]
    assert len(bases) == 2
    assert bases[0] == f"{bases[1]} AS build"
    version = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-\w+", bases[1])[1]
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)


def test_the_image_runs_a_command_of_this_package_without_being_root():
    words = dict(INSTRUCTIONS)
    assert words["USER"].isdecimal()
    assert int(words["USER"]) > 0
    assert yaml.safe_load(words["ENTRYPOINT"])[0] in PROJECT["scripts"]
    order = [word for word, _ in INSTRUCTIONS]
    assert order.index("USER") < order.index("ENTRYPOINT")


def test_copied_files_exist_and_are_sent_to_docker():
    ignored, *kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    sent = {line.removeprefix("!") for line in kept if line.startswith("!")}
    copied = {
        name
        for word, argument in INSTRUCTIONS
        if word == "COPY" and not argument.startswith("--from")
        for name in argument.split()[:-1]
    }
    assert ignored == "*"
    assert copied == sent
    assert [name for name in sent if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("needed", ["readme", "license"])
def test_what_the_wheel_needs_is_copied(needed):
    """The build reads README.md; pip puts LICENSE beside the metadata."""
    name = {"readme": PROJECT["readme"], "license": "LICENSE"}[needed]
    assert re.search(rf"^COPY .*\b{re.escape(name)}\b", DOCKERFILE, re.MULTILINE)


def test_packages_are_a_layer_before_the_code():
    order = [argument for word, argument in INSTRUCTIONS if word in ("COPY", "RUN")]
    install = next(i for i, one in enumerate(order) if "-r requirements.txt" in one)
    code = next(i for i, one in enumerate(order) if one.startswith("dqn "))
    assert order.index("pyproject.toml constraints.txt ./") < install < code
    assert "https://download.pytorch.org/whl/cpu" in order[install]
    assert "-c constraints.txt" in order[install]
