"""The blocks of README and docs/ work, and what the pages name exists."""

import re
from pathlib import Path

import pytest
import yaml
from helpers import ROOT, USER
from hydra.utils import get_object
from pages import PAGES, README, Block, blocks, commands, read, spans

import dqn
from dqn.config.paths import CONF

TINY = ["runner=episodes", "runner.total_episodes=4", "runner.iteration_length=2", "runner.eval_episodes=1"]
TINY += ["network.torso.hidden_sizes=[4]", "env.max_episode_steps=20"]
IS_FILE = re.compile(r"# (my_\w+/[\w/]+\.(?:py|yaml))\n")
FIRST_RUN = "docs/tutorials/first_run.md"
GROUPS = re.findall(r"^\| `([\w/]+)`(?:, `[\w/]+`)* \| (.*?) \|", read(FIRST_RUN), re.MULTILINE)
PATH = re.compile(r"^(?:dqn|conf|docs|scripts|tests)/[\w/]*(?:\.\w+)?$")
KEY = re.compile(
    r"(?<!dqn\.)\b(?:env|network|memory|schedule|runner|agent|hydra\.launcher|hydra\.sweeper)(?:\.\w+)+\b(?!\()"
)


def name_of(block: Block) -> str:
    return block.name


@pytest.fixture(autouse=True)
def users_folder(monkeypatch, tmp_path):
    """Work in a user's folder, where every run is short."""
    train = dqn.train
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(USER)
    monkeypatch.setattr(dqn, "train", lambda overrides=(), **options: train([*TINY, *overrides], **options))
    (tmp_path / "my_conf").symlink_to(USER / "my_conf")


@pytest.mark.parametrize("block", blocks("python"), ids=name_of)
def test_python(block):
    if found := IS_FILE.match(block.text):
        assert block.text.removeprefix(found[0]).strip() in (USER / found[1]).read_text()
    else:
        exec(compile(block.text, block.name, "exec"), {})


@pytest.mark.parametrize("block", blocks("yaml"), ids=name_of)
def test_yaml(block):
    content = yaml.safe_load(block.text)
    assert isinstance(content, dict)
    if found := IS_FILE.match(block.text):
        assert content == yaml.safe_load((USER / found[1]).read_text())
    for target in re.findall(r"_target_: (\S+)", block.text):
        assert callable(get_object(target))


def test_the_library_page_prints_what_it_says(tmp_path, capsys):
    block = next(block for block in blocks("python") if block.page == "docs/guides/library.md")
    exec(compile(block.text, block.name, "exec"), {})
    *_, first, values = capsys.readouterr().out.splitlines()
    (folder,) = (tmp_path / "outputs" / "dqn").iterdir()
    assert first == f"{folder} -20.0 {{'0': [-20.0]}}"
    assert len(values.strip("[]").split()) == 3


@pytest.mark.parametrize(("group", "cell"), GROUPS, ids=[group for group, _ in GROUPS])
def test_options_exist(group, cell):
    names = re.findall(r"`([\w/]+)`", cell)
    assert names
    assert [name for name in names if not list((CONF / group).glob(f"{name.rstrip('/')}*"))] == []


def test_recipes_exist():
    text = " ".join([page.read_text() for page in PAGES])
    names = set(re.findall(r"(?:\+experiment=|\b)((?:zoo|cleanrl|presets|revisiting)/\w+)\b(?!\.md)", text))
    names -= set(re.findall(r"outputs/(\w+/\w+)", text))
    names |= set(re.findall(r"\+experiment=([a-z]\w+)\b(?!/)", text)) - {"corridor"}  # the user's
    assert len(names) > 12
    assert sorted(name for name in names if not (CONF / "experiment" / f"{name}.yaml").exists()) == []


def test_links_of_the_readme():
    for link in re.findall(r"\]\(([^)]*)\)", README.read_text()):
        file, _, title = link.partition("#")
        if not file.startswith("https://"):
            assert (ROOT / file).exists(), link
            titles = re.findall(r"^#+ (.*)$", read(file), re.MULTILINE) if title else []
            assert not title or title in [one.lower().replace(" ", "-") for one in titles], link


def test_files_exist():
    paths = {span for _, span in spans() if PATH.match(span)} | {command.script for command in commands()}
    paths -= {None, "docs/_build/html"}
    assert len(paths) > 20
    assert sorted(path for path in paths if not Path(ROOT / path).exists()) == []


def test_keys_exist(all_keys):
    texts = [text for _, text in spans() if not text.endswith(".py") and " = " not in text]
    named = {key for text in texts for key in KEY.findall(text)}
    assert len(named) > 30
    assert sorted(key for key in named if key not in all_keys) == []


@pytest.fixture
def all_keys() -> set[str]:
    """Return every key of conf/, and the nodes above them."""
    keys = set()
    for path in CONF.rglob("*.yaml"):
        text = path.read_text()
        group = path.parent.relative_to(CONF).as_posix().replace("/", ".").removeprefix(".")
        keys |= dotted(yaml.safe_load(text) or {}, "" if "_global_" in text else group)
    return keys


def dotted(node: dict, prefix: str) -> set[str]:
    keys = {prefix}
    for name, value in node.items():
        key = f"{prefix}.{name}".lstrip(".")
        keys |= dotted(value, key) if isinstance(value, dict) else {key}
    return keys
