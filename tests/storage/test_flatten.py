"""Nested dicts and lists as dotted keys."""

from dqn.storage.flatten import entries, leaves, settings

NESTED = {"a": {"_target_": "m.A", "_partial_": True, "b": [1, {"c": 2}], "d": {}}, 3: []}


def test_entries_are_everything_inside():
    assert [(path, key) for path, key, _ in entries(NESTED)] == [
        *(("a", "a"), ("a._target_", "_target_"), ("a._partial_", "_partial_"), ("a.b", "b")),
        *(("a.b[0]", 0), ("a.b[1]", 1), ("a.b[1].c", "c"), ("a.d", "d"), ("3", 3)),
    ]
    assert [path for path, _, _ in entries([[1]], "x")] == ["x[0]", "x[0][0]"]
    assert list(entries("text")) == []


def test_leaves_are_neither_dicts_nor_lists():
    assert dict(leaves(NESTED)) == {"a._target_": "m.A", "a._partial_": True, "a.b[0]": 1, "a.b[1].c": 2}
    assert list(leaves("text", "a.b")) == [("a.b", "text")]
    assert list(leaves({}, "a")) == []


def test_settings_are_what_a_reader_of_a_configuration_sees():
    assert dict(settings(NESTED)) == {"a": "m.A", "a.b": [1, {"c": 2}], "a.d": {}, "3": []}
