"""The project against independent libraries: reference_values/values.json holds what they computed.

reference_values/make.py made it; it names libraries, versions and conventions. The tests need only the
numbers. Targets and losses are those of `Agent.losses`, the training path itself, with tables for networks.
"""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from heads import LINEAR, NOISY
from helpers import TESTS

from dqn.agent import Agent
from dqn.agent.backup import Double, Greedy, Munchausen
from dqn.memory import NStep, Prioritized, ReplayMemory, Ring
from dqn.network import DuelingStreams, ExpectedHead, HeadFactory, QuantileHead
from dqn.types import FEED_FORWARD, Batch, EnvSpec, ObsSpec, Row
from dqn.value import Categorical, Expected, Quantile

CASES = json.loads((TESTS / "reference_values" / "values.json").read_text())["cases"]
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def case(name: str, dtype: torch.dtype = torch.float64) -> tuple[SimpleNamespace, dict]:
    """Return the inputs (arrays as tensors of `dtype`, integers as int64) and the outputs of a case."""
    inputs = {
        key: tensor(value, dtype) if isinstance(value, list) else value
        for key, value in CASES[name]["inputs"].items()
    }
    return SimpleNamespace(**inputs), CASES[name]["outputs"]


def tensor(value: list, dtype: torch.dtype) -> torch.Tensor:
    whole = np.asarray(value).dtype.kind == "i"
    return torch.tensor(value, dtype=torch.int64 if whole else dtype)


def agree(ours: torch.Tensor, theirs: list, tolerance: float | None = None) -> None:
    """Compare with numbers of twelve digits, or as many as float32 keeps."""
    if tolerance is None:
        tolerance = 1e-10 if ours.dtype == torch.float64 else 3e-6
    expected = torch.tensor(theirs, dtype=torch.float64)
    torch.testing.assert_close(ours.double(), expected, rtol=tolerance, atol=tolerance)


class Tables(Agent):
    """An agent whose networks are tables: what each gives for obs and for next_obs."""

    def __init__(self, backup, *, online, target):
        self.backup = backup
        self._precision = "float32"
        self.online = lambda obs, rng: online[obs]
        self.target = lambda obs, rng: target[obs]
        self.rng = lambda role: None

    def losses_of(self, inputs: SimpleNamespace) -> tuple[torch.Tensor, torch.Tensor]:
        """Return losses and priorities [B]."""
        batch = Batch("obs", inputs.action, inputs.reward, inputs.discount, "next_obs")
        return self.losses(batch, self.rng)[:2]


@DTYPES
@pytest.mark.parametrize("delta", [1.0, 0.5])
def test_double(dtype, delta):
    """Target, TD error and Huber's loss of double Q-learning."""
    inputs, outputs = case("double", dtype)
    online = {"obs": Expected(inputs.q, delta), "next_obs": Expected(inputs.q_next_online, delta)}
    target = {"next_obs": Expected(inputs.q_next_target, delta)}
    loss, priority = Tables(Double(), online=online, target=target).losses_of(inputs)
    agree(loss, outputs[f"huber_{delta:g}"])
    agree(priority, np.abs(outputs["td_error"]).tolist())


@DTYPES
def test_greedy(dtype):
    inputs, outputs = case("double", dtype)
    online, target = {"obs": Expected(inputs.q, None)}, {"next_obs": Expected(inputs.q_next_target, None)}
    loss, priority = Tables(Greedy(), online=online, target=target).losses_of(inputs)
    agree(loss, np.square(outputs["td_error_greedy"]).tolist())
    agree(priority, np.abs(outputs["td_error_greedy"]).tolist())


@DTYPES
def test_categorical_projection(dtype):
    inputs, outputs = case("categorical projection", dtype)
    shifted = Categorical(inputs.probs.log(), inputs.support).shift(inputs.reward, inputs.discount)
    agree(shifted.log_probs.exp(), outputs["probs"])


@DTYPES
def test_categorical_projection_of_many_atoms(dtype):
    """No mass is lost or moved where rounding puts a target beside the atom that it belongs to."""
    inputs, outputs = case("categorical projection, 51 atoms", dtype)
    support = torch.linspace(inputs.v_min, inputs.v_max, 51, dtype=dtype)
    shifted = Categorical(inputs.probs.log(), support).shift(inputs.reward, inputs.discount)
    agree(shifted.log_probs.exp(), outputs["probs"])
    agree(shifted.log_probs.exp().sum(-1), [0.98 + 0.02, 1.0, 1.0, 1.0])


@DTYPES
@pytest.mark.parametrize(("backup", "name"), [(Greedy(), "loss"), (Double(), "loss_double")])
def test_categorical_loss(dtype, backup, name):
    """The cross-entropy, which is the priority too."""
    inputs, outputs = case("categorical loss", dtype)

    def distribution(logits):
        return Categorical(torch.log_softmax(logits, -1), inputs.support)

    online = {"obs": distribution(inputs.logits), "next_obs": Expected(inputs.q_next_online, None)}
    target = {"next_obs": distribution(inputs.logits_next_target)}
    loss, priority = Tables(backup, online=online, target=target).losses_of(inputs)
    agree(loss, outputs[name])
    agree(priority, outputs[name])


@DTYPES
@pytest.mark.parametrize("delta", [None, 1.0, 0.5, 2.0])
@pytest.mark.parametrize(("backup", "name"), [(Greedy(), "loss"), (Double(), "loss_double")])
def test_quantile_loss(dtype, delta, backup, name):
    """Rlax does not divide Huber's loss by delta, as QR-DQN's eq. 10; this does, as IQN's eq. 3."""
    inputs, outputs = case("quantile loss", dtype)

    def distribution(value):
        return Quantile(value, inputs.tau, delta)

    online = {"obs": distribution(inputs.value), "next_obs": distribution(inputs.value_next_online)}
    target = {"next_obs": distribution(inputs.value_next_target)}
    loss, _ = Tables(backup, online=online, target=target).losses_of(inputs)
    agree(loss * (delta or 1), outputs[f"{name}_{delta or 0:g}"])


@DTYPES
@pytest.mark.parametrize("delta", [1.0, 2.0])
def test_implicit_quantile_loss(dtype, delta):
    """Other fractions for the prediction, for the target and for the choice of its action."""
    inputs, outputs = case("implicit quantile loss", dtype)
    online = {"obs": Quantile(inputs.value, inputs.tau, delta)}
    q = inputs.value_next_selector.mean(-1)
    tau = torch.full_like(inputs.value_next_target[:, 0], torch.nan)  # a target's fractions are not asked for
    target = {"next_obs": Quantile(inputs.value_next_target, tau, delta, q)}
    loss, _ = Tables(Greedy(), online=online, target=target).losses_of(inputs)
    agree(loss * delta, outputs[f"loss_{delta:g}"])


@DTYPES
@pytest.mark.parametrize("name", ["munchausen", "munchausen, clipped", "munchausen, alpha 0"])
def test_munchausen(dtype, name):
    """Acme writes the soft value as a log-sum-exp, this as the policy's mean and its entropy."""
    inputs, outputs = case(name, dtype)
    backup = Munchausen(temperature=inputs.temperature, alpha=inputs.alpha, clip=inputs.clip)
    online = {"obs": Expected(inputs.q, 1.0)}
    target = {"obs": Expected(inputs.q_target, 1.0), "next_obs": Expected(inputs.q_next_target, 1.0)}
    loss, priority = Tables(backup, online=online, target=target).losses_of(inputs)
    q = inputs.q.gather(-1, inputs.action.unsqueeze(-1)).squeeze(-1)
    agree(priority, (torch.tensor(outputs["target"], dtype=dtype) - q).abs().tolist(), 2e-6)
    agree(loss, outputs["loss_huber_1"], 2e-6)


SPEC = EnvSpec(ObsSpec((), np.dtype(np.float32), 0, 1.0), 2, None)


def prioritized(inputs: SimpleNamespace, beta: float, max_weight: str) -> ReplayMemory:
    """Return a memory whose observation i has the priority i of `inputs`."""
    epsilon = 1e-6
    sampler = partial(
        Prioritized, alpha=inputs.alpha, beta=lambda tick: beta, epsilon=epsilon, max_weight=max_weight
    )
    memory = ReplayMemory(
        capacity=20,
        reader=partial(NStep, n_step=1),
        sampler=sampler,
        gamma=0.9,
        spec=SPEC,
        seeds=[0],
        num_envs=1,
        device=torch.device("cpu"),
        network=FEED_FORWARD,
    )
    for i in range(len(inputs.priority)):
        add(memory, i)
    memory.sample(1)
    memory.update_priorities(np.arange(len(inputs.priority))[None], inputs.priority.numpy()[None] - epsilon)
    return memory


def add(memory: ReplayMemory, i: int) -> None:
    off, on = np.array([[False]]), np.array([[True]])
    obs, zero = np.array([[i]], np.float32), np.zeros((1, 1))
    memory.push(Row(obs, zero.astype(np.int64), zero, obs + 1, off, off, off, on))


def drawn(memory: ReplayMemory, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which observations were drawn and their weights."""
    sample = memory.sample(count)
    return sample.batch.obs[0].numpy().astype(int), sample.weight[0].numpy()


def share(rows: np.ndarray) -> torch.Tensor:
    """Return how often each row was drawn: within 2 draws of its probability, one of each equal range."""
    return torch.tensor(np.bincount(rows) / rows.size)


@pytest.mark.parametrize("alpha", [0.5, 0.6])
def test_prioritized_over_the_buffer(alpha):
    """Probabilities, and weights over the largest of all rows."""
    inputs, outputs = case(f"prioritized, buffer maximum, alpha {alpha}")
    rows, weight = drawn(prioritized(inputs, inputs.beta, "buffer"), 100_000)
    agree(share(rows), CASES[f"prioritized, batch maximum, alpha {alpha}"]["outputs"]["probability"], 2e-5)
    agree(torch.tensor(weight), np.array(outputs["weight"])[rows].tolist(), 1e-6)


@pytest.mark.parametrize("alpha", [0.5, 0.6])
def test_prioritized_over_the_batch(alpha):
    """Weights over the largest of a batch: one that has the same least priority as the library's."""
    inputs, outputs = case(f"prioritized, batch maximum, alpha {alpha}")
    theirs = dict(zip(inputs.batch.tolist(), outputs["weight"], strict=True))
    largest = max(theirs, key=theirs.get)
    memory = prioritized(inputs, inputs.beta, "batch")
    for _ in range(200):
        rows, weight = drawn(memory, 4)
        if largest in rows and set(rows) <= set(theirs):
            break
    agree(torch.tensor(weight), [theirs[row] for row in rows], 1e-6)


def test_new_row_gets_the_largest_priority_so_far():
    """That of a row which has a small one by now."""
    inputs, outputs = case("prioritized, new row")
    memory = prioritized(inputs, 1.0, "buffer")
    memory.update_priorities(np.array([[inputs.changed]]), np.array([[inputs.changed_to - 1e-6]]))
    add(memory, len(inputs.priority))
    rows, _ = drawn(memory, 100_000)
    agree(share(rows), outputs["probability"], 2e-5)


def n_step(inputs: SimpleNamespace) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return reward sum, discount and step whose next observation is the last state, of each start [T]."""
    n, length = inputs.n, len(inputs.reward)
    ring = Ring(capacity=100, span=n, num_seeds=1, num_envs=1, spec=SPEC)
    columns = {
        "obs": torch.arange(length, dtype=torch.float32),
        "action": torch.zeros(length, dtype=torch.int64),
        "reward": inputs.reward,
        # What follows an end is a state of its own.
        "next_obs": torch.arange(1, length + 1) + 100.0 * (inputs.terminated + inputs.truncated),
        "terminated": inputs.terminated.bool(),
        "truncated": inputs.truncated.bool(),
        "life_lost": torch.zeros(length, dtype=torch.bool),
        "active": torch.ones(length, dtype=torch.bool),
    }
    for i in range(length):
        ring.push([Row(**{name: values[i].numpy().reshape(1, 1) for name, values in columns.items()})])
    starts = np.flatnonzero(ring.is_start)
    assert ring.obs[starts].tolist() == list(range(length))
    reward, discount, following = NStep(n_step=n, gamma=inputs.gamma)(ring, starts[None])
    states = columns["next_obs"].tolist()
    return reward[0], discount[0], [states.index(state) for state in ring.obs[following[0]].tolist()]


@pytest.mark.parametrize("n", [1, 3, 6])
def test_n_step(n):
    """Reward sum, discount and last state of each start, with both kinds of end inside the window."""
    inputs, outputs = case(f"n-step, n {n}")
    reward, discount, step = n_step(inputs)
    agree(torch.tensor(reward), outputs["reward_sum"])
    agree(torch.tensor(discount), outputs["discount"])
    theirs = outputs["bootstrap_step"]
    assert [ours if their >= 0 else -1 for ours, their in zip(step, theirs, strict=True)] == theirs
    returns = reward + discount * inputs.value_next.numpy()[step]
    for name in (f"n-step, n {n}", f"n-step again, n {n}"):
        agree(torch.tensor(returns), CASES[name]["outputs"]["return"], 3e-6)


@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize(("backup", "name"), [(Greedy(), "td_error"), (Double(), "td_error_double")])
def test_rescaled_n_step(backup, name, n):
    """The rescaled target of n rewards in the hundreds: its error is the priority, the loss its square."""
    inputs, outputs = case(f"rescaled n-step, n {n}", torch.float32)
    reward, discount, step = n_step(inputs)
    inputs.reward, inputs.discount = torch.tensor(reward), torch.tensor(discount)
    q, online, target = (
        Expected(values, None, rescale=1e-3)
        for values in (inputs.q, inputs.q_next_online[step], inputs.q_next_target[step])
    )
    tables = Tables(backup, online={"obs": q, "next_obs": online}, target={"next_obs": target})
    loss, priority = tables.losses_of(inputs)
    agree(priority, np.abs(outputs[name]).tolist())
    agree(loss, np.square(outputs[name]).tolist())


def test_dueling_of_values():
    combined, theirs = dueling("dueling, atoms 1", ExpectedHead)
    agree(combined.value.unsqueeze(-1), theirs)


def test_dueling_of_quantiles():
    combined, theirs = dueling("dueling, atoms 3", QuantileHead, num_quantiles=3, prioritized_by="loss")
    agree(combined.value, theirs)


def dueling(name, kind, **arguments):
    """Return what a head makes of both streams, which its weights hand through, and what the library made."""
    inputs, outputs = case(name, torch.float32)
    streams = torch.cat((inputs.advantage.flatten(1), inputs.value), 1)
    features, atoms = streams.shape[1], inputs.value.shape[1]
    make = HeadFactory(
        in_features=features,
        num_actions=inputs.advantage.shape[1],
        make_streams=partial(DuelingStreams, hidden_sizes=[], activation="relu"),
        make_layer=LINEAR,
        generators=[torch.Generator()],
    )
    head = kind(**arguments, huber_delta=1.0, rescale=None, make=make)
    identity = torch.eye(features)
    with torch.no_grad():
        for stream, weight in (
            (head.streams.advantage, identity[:, :-atoms]),
            (head.streams.value, identity[:, -atoms:]),
        ):
            (layer,) = stream.layers
            layer.weight.copy_(weight.unsqueeze(0))
            layer.bias.zero_()
        combined = head(streams.unsqueeze(0), None)
    return SimpleNamespace(value=combined.value.squeeze(0)), outputs["combined"]


@pytest.mark.parametrize("role", ["prediction", "acting"])
def test_noisy_layer(role):
    inputs, outputs = case("noisy linear", torch.float32)
    layer = NOISY(in_features=4, out_features=3, generators=[torch.Generator()])
    noises = iter((inputs.noise_in, inputs.noise_out))
    rng = SimpleNamespace(role=role, normal=lambda size: next(noises).expand(1, size))
    with torch.no_grad():
        layer.weight.copy_(inputs.weight_mu.T.unsqueeze(0))
        layer.weight_sigma.copy_(inputs.weight_sigma.T.unsqueeze(0))
        layer.bias.copy_(inputs.bias_mu)
        layer.bias_sigma.copy_(inputs.bias_sigma)
        x = inputs.x.unsqueeze(0)
        agree(layer(x, rng)[0], outputs["output"])
        agree(layer(x, None)[0], outputs["output_quiet"])
