"""Plain English: words and phrases that this repository avoids, and what to write instead.

It reads the comments and strings of Python files, the comments of YAML files, and all Markdown files but the
changelog.
It also runs without pytest: python tests/test_words.py
"""

import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = ("dqn", "hydra_plugins", "scripts")
YAML = ("conf", "scripts")
FIELD = re.compile(r"\{[^{}\n]*\}")
FROZEN = ROOT / "scripts" / "document_loop.py"

INSTEAD = {
    r"anew": "again, or the verb with re-: recompute, rewrite",
    r"nought": "zero",
    r"whatever": "regardless of, any",
    r"nobody": "no one, or name the process, user or part",
    r"heed(s|ed|ing)?": "honour, follow, obey",
    r"begun": "started",
    r"mend(s|ed|ing)?": "fix",
    r"likewise": "also",
    r"shall": "must, should",
    r"thereof|therein|whereby|forthwith": "a sentence that names the thing",
    r"(tell|tells|telling)(?! apart)|told(?! apart)": "print, log, report, say, raise; message",
    r"otherwise than": "differently from",
    r"(rounds|rounded|computed|computes|done|drawn|read|reads|written|and|but) otherwise": "differently",
    r"of (one's|your|its|their|his|her) own": "custom, separate, its, your",
    r"one's": "a, the, its",
    r"user's own": "custom, a user's",
    r"to be had": "available",
    r"hangs? (on|together)|hung on": "depend on",
    r"(go|goes|going|gone|went) on(?! the)": "continue, resume",
    r"but for": "except, except for",
    r"so many": "that many, or the number's name",
    r"so (few|much) (that|as)": "few enough, little enough",
    r"as it were": "nothing",
    r"for the eye": "for display",
    r"at work": "running",
    r"in turn of": "one after another",
    r"do(es)? as above": "a sentence that stands alone",
    r"which (the|a|an|this|that) \w+ (has|have|does|do|is|are) not": "that ... lacks; without ...",
    r"any ?more than|not any more": "no longer",
    r"no \w+ any more|any more": "no longer",
    r"how it fares|fares?": "do, perform",
    r"by so": "by that",
    r"(?<!other\s)words": "overrides",
    r"(?<!in\s)(?<!take\s)(?<!takes\s)(?<!took\s)(?<!decimal\s)places?": "row index, key, position, location",
    r"(?<!on\s)purposes?": "role, use",
    r"(the|these|its|by|from|of|own|acting|learning|fixed) draws": "random numbers, rng, samples",
}
"""By regular expression, in which a space stands for any white space and the ends are those of words."""
STARTS = {
    r"What": "a noun phrase: 'The options of ...'; for a function an imperative: 'Return ...'",
    r"Let": "the verb itself: 'Mark the job as failed'",
    r"(Of|As|That|Such|Whose|Where)": "a sentence with its subject",
    r"(Do|Does|Is|Are)": "what it does, independent of the text above",
}
"""The same for the first words of a docstring."""


def compiled(row: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w`-])({row})(?![\w`-])".replace(" ", r"[\s#]+"), re.IGNORECASE)


ROWS = [(compiled(row), way) for row, way in INSTEAD.items()]
ROWS += [(re.compile(rf'\A[rfbu]*"""({row})(?!\w)'), way) for row, way in STARTS.items()]


def texts() -> Iterator[tuple[Path, int, str]]:
    """Yield file, line and text of all prose."""
    for folder in PYTHON:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != FROZEN:
                yield from ((path, line, text) for line, text in prose(path))
    for folder in YAML:
        for path in sorted((ROOT / folder).rglob("*.yaml")):
            for line, text in enumerate(path.read_text().splitlines(), 1):
                yield path, line, text.partition("#")[2]
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        if path.name != "CHANGELOG.md":
            yield path, 1, path.read_text()


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each comment and string, without the names in an f-string's fields."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            is_string = token.type == tokenize.STRING and not token.string.strip("rbfu'\"").isidentifier()
            if is_string or token.type == tokenize.COMMENT:
                yield token.start[0], FIELD.sub("{}", token.string)


def hits() -> Iterator[str]:
    """Yield a line for each phrase that should be another."""
    for path, first, text in texts():
        for pattern, way in ROWS:
            for match in pattern.finditer(text):
                line = first + text.count("\n", 0, match.start(1))
                yield f"{path.relative_to(ROOT)}:{line}: {' '.join(match[1].split())!r}: write {way}"


def test_plain_english():
    found = list(hits())
    assert found == [], "\n".join(["", *found])


SAMPLE = '''"""Let it be."""
x = f"it is told {told} and begun"
told = "told"  # as it were
"""A file of its
own, and `told`."""
'''


def test_phrases_are_found(tmp_path):
    """In strings and comments, across the ends of lines; not in names, code and fields."""
    file = tmp_path / "file.py"
    file.write_text(SAMPLE)
    found = [(line, hit[1]) for line, text in prose(file) for row, _ in ROWS for hit in row.finditer(text)]
    assert sorted(found) == [(1, "Let"), (2, "begun"), (2, "told"), (3, "as it were"), (4, "of its\nown")]


if __name__ == "__main__":
    sys.exit("\n".join(hits()) or 0)
