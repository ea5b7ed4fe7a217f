"""Streams: named, independent, restorable; and no other randomness anywhere."""

import re
from pathlib import Path

import numpy as np

import dqn
from dqn.seeding import Uniforms, get_states, integer, set_states, stream


def test_a_stream_is_its_name():
    assert stream(1, "a").random() == stream(1, "a").random()
    numbers = {stream(*name).random() for name in [(1, "a"), (2, "a"), (1, "b"), (1, "a", 0), (1, "a", 1)]}
    assert len(numbers) == 5
    assert integer(1, "a", 2) == integer(1, "a", 2) != integer(1, "a", 3)
    assert 0 <= integer(1, "a") < 2**31


def test_uniforms_are_the_streams_numbers_in_order():
    uniforms = Uniforms([stream(0, "x"), stream(1, "x")], (3, 2))
    plain = stream(1, "x")
    for _ in range(2 * Uniforms.BLOCK + 3):
        np.testing.assert_array_equal(uniforms.next(np.array([True, True]))[1], plain.random((3, 2)))


def test_a_seed_that_waits_uses_nothing_up():
    uniforms = Uniforms([stream(0, "x"), stream(1, "x")], ())
    plain = stream(1, "x")
    for step in range(3 * Uniforms.BLOCK):
        using = np.array([True, step % 3 == 0])
        numbers = uniforms.next(using)
        if using[1]:
            assert numbers[1] == plain.random()


def test_uniforms_go_on_where_their_state_was_taken():
    def make() -> Uniforms:
        return Uniforms([stream(0, "x"), stream(1, "x")], (2,))

    first = make()
    for step in range(5 * Uniforms.BLOCK // 2):
        if step % 100 == 0:
            second = make()
            second.load_state_dict(first.state_dict())
            assert second.state_dict() == first.state_dict()
        using = np.array([True, step % 2 == 0])
        np.testing.assert_array_equal(first.next(using), second.next(using))


def test_states_round_trip():
    one, other = [stream(3, "x")], [stream(4, "y")]
    one[0].random(5)
    set_states(other, get_states(one))
    assert one[0].random() == other[0].random()


def test_no_global_generators():
    """Randomness comes from seeding alone; torch's parameters have a generator that it seeds.

    The probe of an environment's seed uses the global generators and restores them. So does an ordinary
    module as the torso, which initialises itself from them.
    """
    word = re.compile(
        r"np\.random\.(?!Generator|SeedSequence|PCG64|RandomState)"
        r"|\bimport random\b|manual_seed\(|torch\.rand"
    )
    package = Path(dqn.__file__).parent
    found = [
        f"{path.name}: {line.strip()}"
        for path in package.rglob("*.py")
        if path not in (package / "runner" / "probe.py", package / "network" / "module.py")
        for line in path.read_text().splitlines()
        if word.search(line)
    ]
    assert [line.partition(":")[0] for line in found] == ["policy.py"]
    assert "torch.Generator().manual_seed(integer(seed" in found[0]
