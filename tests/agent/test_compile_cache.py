"""Compiled graphs that are kept, and the fingerprints by which they are found."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dqn.agent import compile_cache as graph

FIXED = torch.arange(6.0).view(2, 3)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    return tmp_path / "dqn" / "compiled"


def numbers(seed: int) -> Tensor:
    return torch.rand(2, 3, generator=torch.Generator().manual_seed(seed))


def fingerprint(function, *tensors: Tensor) -> str:
    return graph.recorded(function, tensors).fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        lambda x, y: x * 2.5 + y,  # a number
        lambda x, y: y * 2.0 + x,  # which of the given
        lambda x, y: x * 2.0 + FIXED,  # one that is not given
        lambda x, y: x * 2.0 - y,  # an operation
        lambda x, y: (x * 2.0).add_(y),  # where it writes
        lambda x, y: x * torch.tensor(2.0) + y,  # a constant
        lambda x, y: (x * 2.0 + y, x),  # what is returned
    ],
)
def test_fingerprints_tell_apart(other):
    given = numbers(0), numbers(1)
    assert fingerprint(other, *given) != fingerprint(lambda x, y: x * 2.0 + y, *given)
    assert fingerprint(other, *given) == fingerprint(other, numbers(2), numbers(3))


def test_fingerprints_tell_constants_shapes_and_types_apart():
    functions = [lambda x: x + torch.tensor([1.0, 2.0, 3.0]), lambda x: x + torch.tensor([1.0, 2.0, 4.0])]
    given = [numbers(0), numbers(0).double(), numbers(0)[:1], numbers(0).T.contiguous().T]
    assert len({fingerprint(function, x) for function in functions for x in given}) == 8


def test_fingerprints_tell_what_is_returned_apart():
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, x * 3

    assert fingerprint(function, numbers(0)) != fingerprint(lambda x: function(x)[::-1], numbers(0))


def test_fingerprints_tell_shared_memory_apart():
    """Where a row is written, one that lies there is another afterwards."""
    written = torch.zeros(2, 3)

    def prints(read: Tensor, *given: Tensor) -> str:
        return fingerprint(lambda *given: (written.add_(given[0]), read * 2), *given)

    assert len({prints(row, numbers(0)) for row in (written[0], written[1], torch.zeros(3))}) == 3
    assert fingerprint(torch.add, numbers(0), numbers(1)) != fingerprint(torch.add, *[numbers(0)] * 2)


def test_numbers_of_generators_are_refused():
    with pytest.raises(ValueError, match="random numbers should come from the draws"):
        fingerprint(lambda x: x + torch.rand(3, generator=torch.Generator()), numbers(0))


def test_a_fingerprint_knows_nothing_of_where_memory_is_found_again():
    def function(x: Tensor) -> Tensor:
        for _ in range(20):
            x = x + FIXED  # each time the memory of an earlier one may be used
        return x

    first = fingerprint(function, numbers(0))
    kept = [numbers(seed) for seed in range(50)]
    del kept[::3]
    assert fingerprint(function, numbers(0)) == first


def test_what_is_outside_is_found_in_its_order_with_its_gradients():
    weight, bias = torch.nn.Parameter(numbers(1)), torch.nn.Parameter(numbers(2))
    written = torch.zeros(2, 3)

    def function(x: Tensor) -> Tensor:
        loss = (weight * x + bias).square().sum()
        return written.copy_(torch.autograd.grad(loss, [weight])[0])

    given = numbers(0)
    outside = graph.recorded(function, (given,)).outside
    assert [x.data_ptr() for x in outside] == [x.data_ptr() for x in (weight, bias, written)]


def function_of(written: Tensor, weight: torch.nn.Parameter):
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        loss = ((weight * x).tanh() + torch.tensor([1.0, 2.0, 3.0])).square().sum(-1)
        gradient = torch.autograd.grad(loss.sum(), [weight])[0]
        torch.mul(gradient, 0.5, out=written)
        return loss.detach(), written.norm()

    return function


def restore(content: bytes, *_, path: Path) -> None:
    path.write_bytes(content)


def test_a_later_process_finds_the_library(cache, monkeypatch):
    """On other tensors of its own, without the compiler, and it gives the same; or it mends it."""
    results = []
    for i in range(3):
        written, weight = torch.zeros(2, 3), torch.nn.Parameter(numbers(1))
        function = function_of(written, weight)
        library = graph.kept_library(function, (numbers(0),))
        with torch.no_grad():
            weight.copy_(numbers(2))  # read where it lies
            ours = [x.clone() for x in (*library(numbers(3)), written)]
        theirs = [x.clone() for x in (*function(numbers(3)), written)]
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        results.append(ours)
        (file,) = cache.glob("*.so")
        content = file.read_bytes()
        monkeypatch.setattr(graph, "compile_library", None)
        if i == 1:
            file.unlink()  # it is in use
            file.write_bytes(content[:1000])
            monkeypatch.setattr(graph, "compile_library", partial(restore, content))
    assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))
    assert {path.suffix for path in cache.iterdir()} == {".so", ".lock"}  # and no temporary folder


def test_tensors_that_do_not_stay_are_refused(cache):
    state = [numbers(0)]

    def function(x: Tensor) -> tuple[Tensor]:
        state[0] = state[0] + x
        return (state[0],)

    with pytest.raises(ValueError, match="changed in place only"):
        graph.kept_library(function, (numbers(0),))
    assert not cache.exists()


@pytest.mark.slow
def test_operations_without_an_interface_are_refused(cache):
    with pytest.raises(ValueError, match="none of torch's C"):
        graph.kept_library(torch.linalg.qr, (numbers(0),))
    assert not list(cache.glob("*.so"))


@pytest.mark.slow
def test_what_is_compiled_anew_is_the_same(cache):
    """As on devices whose libraries are not kept."""
    written, weight = torch.zeros(2, 3), torch.nn.Parameter(numbers(1))
    function = function_of(written, weight)
    compiled = graph.compiled_anew(function, (numbers(0),))
    with torch.no_grad():
        ours = [x.clone() for x in (*compiled(numbers(3)), written)]
    for one, other in zip(ours, (*function(numbers(3)), written), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
