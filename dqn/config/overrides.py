"""Overrides in Hydra's grammar; each mistake becomes a sentence that shows what to type instead."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    ValueType,
)

from dqn import system
from dqn.errors import one_line

CONFIG_NAME = "config"
MOST_VALUES = 100_000
"""Most values of one sweep, and most jobs of a grid."""
MOST_PIECES = 20
"""Most pieces that are tried as one override."""
NO_VALUES = "the range is empty; it should contain START, START + STEP, ... below STOP"
"""Message about a range without values."""
FOR_SWEEPS = re.compile(r"hydra[./](sweep|sweeper|launcher)\b")
"""Keys that only sweeps read."""


class Parsed(NamedTuple):
    """The overrides that follow Hydra's grammar, and the problems of the others."""

    overrides: list[Override]
    """Those with a mistake in the grammar that is understood are there as they should have been typed."""
    problems: list[str]
    corrections: dict[str, str]
    """Some of the overrides, and the text that was typed for each."""

    def with_corrections(self, problems: Sequence[str]) -> list[str]:
        """Return problems of the overrides, and those of their grammar.

        A problem of a corrected override says all that is wrong with it.
        """
        found = [*problems]
        for line, typed in self.corrections.items():
            own = next((one for one in found if one.startswith(f"{line}: ")), None)
            if own is None:
                one_word = ", one word" if " " in typed else ""
                found.append(f"{typed}: should be {in_shell(line)}{one_word}")
            else:
                found[found.index(own)] = typed + own.removeprefix(line)
        return found


def parse(texts: Sequence[str], parser: OverridesParser) -> Parsed:
    """Parse overrides; each mistake is understood or becomes a problem."""
    parsed = Parsed([], [], {})
    words = list(texts)
    while words:
        count = 1
        try:
            found = parser.parse_overrides(words[:1])
        except Exception as error:  # functions of the grammar may raise anything
            line, count = in_one_word(words, parser)
            if line is None:
                parsed.problems.append(f"{words[0]}: {correction(words[0], error, parser)}")
                found = []
            else:
                parsed.corrections[line] = " ".join(words[:count])
                found = parser.parse_overrides([line])
        for override in found:
            if problem := wrong_values(override) if override.key_or_group else "should be KEY=VALUE":
                parsed.problems.append(f"{override.input_line}: {problem}")
            else:
                parsed.overrides.append(override)
        words = words[count:]
    return parsed


def in_one_word(words: Sequence[str], parser: OverridesParser) -> tuple[str | None, int]:
    """Return the override that was meant, and the number of pieces that it was typed in; None: unclear."""
    text = words[0]
    key, equals, value = text.partition("=")
    pairs = [(f"{key.strip().lstrip('-')}={value.strip()}" if equals else text.replace(":", "=", 1), 1)]
    if not equals and len(words) > 1 and not re.search(r"=|^-", words[1]):  # --lr 3
        pairs.append((f"{text.lstrip('-')}={words[1]}", 2))
    for count, word in enumerate(words[1:MOST_PIECES], start=2):
        text += word if text.endswith("=") or word.startswith("=") else f" {word}"
        if not text.endswith("="):
            pairs.append((text, count))
    for line, count in pairs:
        if re.match(r"[\w.@/+~-]+=", line) and follows_grammar(line, parser):
            return line, count
    return None, 1


def correction(text: str, error: Exception, parser: OverridesParser) -> str:
    """Return what to type instead of a text that does not follow Hydra's grammar."""
    _, equals, value = text.partition("=")
    if re.search(r"\s[\w./]+=", value):
        return "should be one override; each KEY=VALUE is a separate word"
    if not equals:
        return "should be KEY=VALUE, without spaces around the =; a text with spaces needs quotes"
    said = [line for line in str(error).splitlines() if not line.startswith(("Error parsing", "See http"))]
    reason = re.sub(r" expecting \{.*", "", next(iter(said), type(error).__name__))
    problem = f"should be KEY=VALUE in Hydra's grammar ({reason})"
    quoted = as_text(text.replace("=~/", f"={Path.home()}/", 1))
    if value.startswith(("[", "{")) or not follows_grammar(quoted, parser):
        return problem
    return f"{problem}; a text with such characters needs quotes: {in_shell(quoted)}"


def follows_grammar(text: str, parser: OverridesParser) -> bool:
    try:
        return bool(parser.parse_overrides([text]))
    except Exception:
        return False


def as_text(line: str) -> str:
    """Return an override whose value is quoted."""
    key, _, value = line.partition("=")
    quote = Quote.double if "'" in value else Quote.single
    return f"{key}={QuotedString(value, quote).with_quotes()}"


def in_shell(word: str) -> str:
    """Return a word as typed in a shell, in double quotes if it contains single ones."""
    if "'" not in word or re.search(r"[$`\\!]", word):
        return system.quoted(word)
    return '"' + word.replace('"', '\\"') + '"'


def wrong_values(override: Override) -> str | None:
    """Return the problem of a sweep that has no values or too many."""
    if not override.is_discrete_sweep():
        return None
    try:
        count = sum(1 for _ in islice(values(override), MOST_VALUES + 1))
    except Exception as error:  # such as a step of 0 or a choice in a choice
        return NO_VALUES if override.is_range_sweep() else f"its values are no texts ({one_line(error)})"
    if count > MOST_VALUES:
        return f"should have at most {MOST_VALUES:,} values"
    if count == 0 and override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        return "should match at least one option of a group"
    if count == 0:
        return NO_VALUES if override.is_range_sweep() else "should have at least one value"
    return None


def values(override: Override) -> Iterator[object]:
    """Return the values of a sweep; shuffling would need all values of a range at once."""
    value = override.value()
    return iter(value.range() if isinstance(value, RangeSweep) else override.sweep_string_iterator())


def first_value(override: Override, parser: OverridesParser) -> Override:
    """Return the override with the first of its values; one with a single value is returned unchanged."""
    if not override.is_sweep_override():
        return override
    value = override.value()
    first = value.start if isinstance(value, IntervalSweep) else next(override.sweep_string_iterator())
    return parser.parse_overrides([f"{override.get_key_element()}={first}"])[0]


def chosen(override: Override) -> list[object]:
    """Return the options that an override of a group chooses."""
    if override.is_sweep_override():
        listed = override.is_discrete_sweep()
        return list(override.sweep_string_iterator()) if listed else [override.get_value_string()]
    value = override.value()
    return list(value) if isinstance(value, list) else [value]


def misplaced(override: Override, *, is_multirun: bool) -> str | None:
    """Return the problem of an override that this kind of command would ignore or misunderstand."""
    line, key = str(override.input_line), override.key_or_group
    if is_multirun:
        instead = line.replace("hydra.run.dir", "hydra.sweep.dir", 1)
        return f"{line}: a sweep needs {in_shell(instead)}" if key == "hydra.run.dir" else None
    if FOR_SWEEPS.match(key):
        return f"{line}: only sweeps use it; add -m"
    if not override.is_sweep_override():
        return None
    problem = f"{line}: should be one value; add -m for a run of each"
    if override.value_type != ValueType.SIMPLE_CHOICE_SWEEP:
        return problem
    name, _, value = line.partition("=")
    return (
        f"{problem}, or type {in_shell(f'{name}=[{value}]')} for a list, {in_shell(as_text(line))} for a text"
    )
