"""Newcomers' mistakes in Hydra's grammar, and sweeps without values: the message shows the words to type."""

import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from dqn.config.compose import hydra_globals, make_loader
from dqn.config.overrides import in_shell, misplaced, parse

WORDS = [
    # the words that the program gets, and what the message says to type
    ("hydra.run.dir=outputs/lr/lr=0.001_3f2a", "\"hydra.run.dir='outputs/lr/lr=0.001_3f2a'\""),
    ("hydra.run.dir=runs/a,b=1", "\"hydra.run.dir='runs/a,b=1'\""),
    ("name=a(b)", "\"name='a(b)'\""),
    ("name=it\\'s", '"name=\\"it\'s\\""'),
    ("agent.lr = 0.1", "should be agent.lr=0.1, one word"),
    ("agent.lr =0.1", "should be agent.lr=0.1, one word"),
    ("agent.lr:0.1", "should be agent.lr=0.1"),
    ("--agent.lr=0.1", "should be agent.lr=0.1"),
    ("agent.lr 0.1", "agent.lr 0.1: should be agent.lr=0.1, one word"),
    ("--agent.lr 0.1", "--agent.lr 0.1: should be agent.lr=0.1, one word"),
    ("--agent.lr seed=1", "--agent.lr: should be KEY=VALUE"),
    ("--seed=range(3,1)", "the range is empty"),
    ("'agent.lr=0.1 seed=2'", "should be one override; each KEY=VALUE is a separate word"),
    ("network.torso.hidden_sizes=[256, 256]", "'network.torso.hidden_sizes=[256, 256]', one word"),
    ("env.kwargs={a: 1, b: 2}", "'env.kwargs={a: 1, b: 2}', one word"),
    ("agent.lr=[1", "should be KEY=VALUE in Hydra's grammar"),
    ("name=my run", "without spaces around the =; a text with spaces needs quotes"),
    ("=1", "should be KEY=VALUE"),
    ("seed=rnge(0,3)", "Unknown function 'rnge'"),
    ("'hydra.run.dir=~/a=1'", f"needs quotes: \"hydra.run.dir='{Path.home()}/a=1'\""),
    # sweeps
    ("env=glob(zzz*)", "should match at least one option of a group"),
    ("agent.lr=glob(*)", "should match at least one option of a group"),
    ("+experiment=glob([])", "should match at least one option of a group"),
    ("env=glob(*,exclude=*)", "should match at least one option of a group"),
    ("seed=range(3,1)", "the range is empty"),
    ("seed=range(1,3,0)", "the range is empty"),
    ("seed=float(range(3,1))", "the range is empty"),
    ("agent.lr=range(nan,1)", "the range is empty"),
    ("seed=range(0,1000000000)", "at most 100,000 values"),
    ("seed=shuffle(range(0,1000000000))", "at most 100,000 values"),
    ("agent.lr=range(0,inf)", "at most 100,000 values"),
    ("agent.lr=range(0,1,1e-30)", "at most 100,000 values"),
    ("seed=choice()", "empty choice is not legal"),
    ("seed=shuffle()", "should have at least one value"),
    ("seed=sort()", "empty sort input"),
    ("seed=sort(a,1)", "'<' not supported"),
    ("seed=choice(choice(1,2),3)", "its values are no texts"),
    ("seed=int(inf)", "cannot convert float infinity"),
    ("seed=tag(log)", "Last argument to tag() must be"),
    (f"seed={'9' * 5000}", "should be KEY=VALUE in Hydra's grammar"),
    (f"a={'[' * 2000}", "should be KEY=VALUE in Hydra's grammar"),
]
"""Words without a sentence of their own end in a traceback, train something else, or never answer."""


@pytest.fixture(scope="module")
def parser():
    with hydra_globals():
        yield OverridesParser.create(config_loader=make_loader(None))


def problems_of(words, parser):
    parsed = parse(words, parser)
    return parsed.with_corrections(parsed.problems)


@pytest.mark.parametrize(("line", "right"), WORDS, ids=[line[:40] for line, _ in WORDS])
def test_the_message_shows_what_to_type(line, right, parser):
    words = shlex.split(line)
    problems = problems_of(words, parser)
    assert problems
    assert right in problems[0]


@pytest.mark.parametrize("text", ["a=b", "it's (a)", "$(x) = y", "(", 'a="b"'])
def test_the_suggested_words_follow_the_grammar(text, parser):
    """As the shell passes them on."""
    (problem,) = problems_of([f"name={text}"], parser)
    (word,) = shlex.split(problem.rpartition("needs quotes: ")[2])
    assert problems_of([word], parser) == []
    (override,) = parse([word], parser).overrides
    assert (override.key_or_group, override.value()) == ("name", text)


def test_valid_sweeps(parser):
    words = "seed=range(0,3) agent=glob(d*) agent.lr=sort(3,1,2) a=choice(1,2) b=interval(0,1) c=shuffle(1,2)"
    assert len(parse(words.split(), parser).overrides) == 6
    assert problems_of(words.split(), parser) == []


@pytest.mark.parametrize(
    ("line", "is_multirun", "right"),
    [
        ("hydra.run.dir=X", True, "a sweep needs hydra.sweep.dir=X"),
        ("hydra.run.dir='a b'", True, "a sweep needs \"hydra.sweep.dir='a b'\""),
        ("hydra.sweep.dir=X", False, "only sweeps use it; add -m"),
        ("hydra/launcher=slurm", False, "only sweeps use it; add -m"),
        ("hydra.launcher.n_jobs=4", False, "only sweeps use it; add -m"),
        ("hydra.sweeper.params.seed=1", False, "only sweeps use it; add -m"),
        ("a.b=256,256", False, "add -m for a run of each, or type 'a.b=[256,256]' for a list"),
        ("seed=range(0,3)", False, "add -m for a run of each"),
    ],
)
def test_an_override_that_the_command_would_ignore(line, is_multirun, right, parser):
    (override,) = parse([line], parser).overrides
    assert right in str(misplaced(override, is_multirun=is_multirun))
    assert misplaced(override, is_multirun=not is_multirun) is None


def test_words_for_the_shell():
    for word in ("a", "a b", "a='b c'", 'a="b"', "a='$b'", "a='b' \"c\"", "it's `x`"):
        assert shlex.split(in_shell(word)) == [word]
