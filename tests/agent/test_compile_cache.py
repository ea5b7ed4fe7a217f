"""The cache of compiled graphs, and the descriptions by which they are found."""

import os

import pytest
import torch
from faults import BatchBackup, MixedSeeds
from heads import LINEAR
from torch import Tensor

from dqn.agent import Munchausen
from dqn.agent import compile_cache as graph
from dqn.network import flatten

FIXED = torch.arange(6.0).view(2, 3)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "dqn" / "compiled"


def numbers(seed: int) -> Tensor:
    return torch.rand(2, 3, generator=torch.Generator().manual_seed(seed))


def test_what_is_of_the_package_is_described_the_same_each_time():
    def part(alpha: float = 0.5, size: int = 3) -> list:
        backup = Munchausen(temperature=0.1, alpha=alpha, clip=-1.0)
        layer = LINEAR(in_features=size, out_features=2, generators=[torch.Generator()])
        flatten(layer, torch.device("cpu"))
        return [backup, layer, None, {"a": (True, 1)}, {"b", "a"}]

    assert graph.description(part()) == graph.description(part())
    others = [part(), part(alpha=0.6), part(size=4), part()[:3], [*part(), Munchausen]]
    texts = {graph.description(other) for other in others}
    assert len(texts) == len(others)
    assert None not in texts


@pytest.mark.parametrize("kind", [MixedSeeds, BatchBackup, lambda: lambda: None])
def test_custom_parts_are_not_described(kind):
    part = kind.__new__(kind) if isinstance(kind, type) else kind()
    assert graph.description([1, part]) is None
    assert graph.description([1, kind]) is None


def test_keys_differ_by_description_shape_and_type():
    given = [numbers(0), numbers(0).double(), numbers(0)[:1], numbers(0).T.contiguous().T]
    keys = [graph.key(text, [x], []) for text in ("one", "other") for x in given]
    assert len({*keys}) == 8
    assert graph.key("one", [numbers(1)], []) == keys[0] != graph.key("one", [], [numbers(0)] * 2)


def test_keys_differ_by_sources_and_threads(monkeypatch, tmp_path):
    names = [graph.key("one", [], [])]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    names.append(graph.key("one", [], []))
    changed = tmp_path / "value.py"
    changed.write_text("")
    monkeypatch.setattr(graph, "SOURCES", [changed])
    names.append(graph.key("one", [], []))
    assert len({*names}) == 3


def test_a_graph_takes_what_is_outside_in_the_order_given_and_then_what_else_it_uses():
    weight, bias, written = torch.nn.Parameter(numbers(1)), torch.nn.Parameter(numbers(2)), torch.zeros(2, 3)

    def function(x: Tensor) -> Tensor:
        loss = ((weight * x + bias) * torch.tensor(2.0)).square().sum()
        return written.copy_(torch.autograd.grad(loss, [weight])[0])

    given, unused = numbers(0), numbers(3)
    traced, used = graph.traced_graph(function, (given,), [unused, bias])
    assert [x.data_ptr() for x in used] == [x.data_ptr() for x in (unused, bias, weight, written)]
    written.zero_()
    others = [x.detach() + 1 for x in used]
    expected = 2 * given * 4 * (others[2] * given + others[1])
    torch.testing.assert_close(traced(given, *others), expected)
    torch.testing.assert_close(others[3], expected)
    assert not written.any()


def function_of(written: Tensor, weight: torch.nn.Parameter):
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        loss = ((weight * x).tanh() + torch.tensor([1.0, 2.0, 3.0])).square().sum(-1)
        gradient = torch.autograd.grad(loss.sum(), [weight])[0]
        torch.mul(gradient, 0.5, out=written)
        return loss.detach(), written.norm()

    return function


@pytest.mark.parametrize("described", [None, "this one"])
def test_tensors_that_do_not_stay_are_refused(cache, described, caplog):
    caplog.set_level("INFO")
    state = [numbers(0)]

    def function(x: Tensor) -> tuple[Tensor]:
        state[0] = state[0] + x
        return (state[0],)

    with pytest.raises(ValueError, match="must change in place"):
        graph.compiled_graph(function, (numbers(0),), [], described)
    assert not list(cache.glob("*.so"))
    assert caplog.messages == ["compiling the update, which takes up to a minute ..."]


def test_what_is_kept_uses_no_tensor_that_a_later_process_cannot_find(cache):
    with pytest.raises(ValueError, match="neither a parameter nor a buffer"):
        graph.compiled_graph(lambda x: (x + FIXED,), (numbers(0),), [], "this one")
    assert not list(cache.glob("*.so"))


def test_a_library_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    made, kept = tmp_path / "made.so", tmp_path / "kept.so"
    made.write_bytes(b"library")
    synced = []
    monkeypatch.setattr(graph.os, "fsync", lambda file: synced.append((os.fstat(file), kept.exists())))
    graph.keep(made, kept)
    assert kept.read_bytes() == b"library"
    assert [(file.st_ino, exists) for file, exists in synced] == [(kept.stat().st_ino, False)]


@pytest.mark.slow
def test_operations_without_an_interface_are_refused(cache):
    with pytest.raises(ValueError, match="not in torch's C"):
        graph.compiled_graph(torch.linalg.qr, (numbers(0),), [], "this one")
    assert not list(cache.glob("*.so"))


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_what_is_not_kept_is_the_same(cache, device):
    """Graphs of custom parts, and of devices whose libraries are not kept."""
    written, weight = torch.zeros(2, 3), torch.nn.Parameter(numbers(1))
    function = function_of(written, weight)
    if device == "cpu":
        compiled = graph.compiled_graph(function, (numbers(0),), [], None)
    else:
        compiled = graph.new_graph(function, (numbers(0),), [])
    with torch.no_grad():
        weight.copy_(numbers(2))  # read in place
        ours = [x.clone() for x in (*compiled(numbers(3)), written)]
    for one, other in zip(ours, (*function(numbers(3)), written), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert not list(cache.glob("*.so"))
