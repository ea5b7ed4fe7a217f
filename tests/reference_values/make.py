"""Make values.json: what independent libraries compute, for tests/test_reference_values.py.

The tests read only the numbers. To make them again, in an environment of its own:

    pip install -r tests/reference_values/requirements.txt
    pip install --no-deps dm-acme==0.4.0
    python tests/reference_values/make.py

(Acme's other requirements, Reverb and Launchpad, have no builds for current Pythons; its losses need none.)
Nothing of this project is imported here. Inputs are drawn from seeded generators and rounded before any
library sees them, so that the file holds exactly what was computed with. Shape letters are the project's:
B batch, A actions, N atoms or quantiles.
"""

import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import cpprb
import jax
import numpy as np
import rlax
import torch
from jax import numpy as jnp
from tianshou.algorithm.algorithm_base import Algorithm
from tianshou.data import Batch, PrioritizedReplayBuffer, ReplayBuffer
from tianshou.utils.net.common import Net
from torchrl.envs import ExplorationType, set_exploration_type
from torchrl.modules import NoisyLinear

jax.config.update("jax_enable_x64", True)
RANDOM = np.random.default_rng(20)
LIBRARIES = ("rlax", "jax", "dm-acme", "torchrl", "torch", "tianshou", "cpprb", "numpy")
CASES: dict[str, dict[str, Any]] = {}


def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
    """Return rounded normal numbers, float64."""
    return np.round(scale * RANDOM.standard_normal(shape), 3)


def record(name: str, library: str, function: str, note: str = "", **values: Any) -> None:
    """Add a case; of `values`, `inputs` and `outputs` are dictionaries of arrays or numbers."""
    source = {"library": library, "function": function, "version": importlib.metadata.version(library)}
    CASES[name] = {"source": source, "note": " ".join(note.split()), **values}


def each(function: Callable[..., Any], *arguments: Any, axes: Iterable[int | None] | None = None) -> Any:
    """Return what an rlax function, written for one sample, gives for each of a batch."""
    return jax.vmap(function, in_axes=0 if axes is None else tuple(axes))(*arguments)


def q_learning() -> None:
    inputs = {
        "q": draw(6, 4),
        "action": np.array([0, 1, 2, 3, 1, 0]),
        "reward": draw(6),
        "discount": np.array([0.99, 0.99, 0.0, 0.970299, 0.99, 1.0]),
        "q_next_target": draw(6, 4),
        "q_next_online": draw(6, 4),
    }
    q, action, reward, discount, target, online = inputs.values()
    td_error = each(rlax.double_q_learning, q, action, reward, discount, target, online)
    greedy = each(rlax.q_learning, q, action, reward, discount, target)
    outputs = {
        "td_error": td_error,
        "td_error_greedy": greedy,
        "huber_1": rlax.huber_loss(td_error, 1.0),
        "huber_0.5": rlax.huber_loss(td_error, 0.5),
    }
    note = "td_error is target minus prediction; the online net's values choose, the target net's are taken."
    record(
        "double", "rlax", "double_q_learning, q_learning, huber_loss", note, inputs=inputs, outputs=outputs
    )


def projection() -> None:
    def project(support: np.ndarray, probs: np.ndarray, reward: np.ndarray, discount: np.ndarray) -> Any:
        return each(
            lambda p, r, d: rlax.categorical_l2_project(r + d * support, p, support), probs, reward, discount
        )

    rows = {
        "unmoved": (0.0, 1.0),
        "every atom onto the next": (1.0, 1.0),
        "every atom onto the one before": (-1.0, 1.0),
        "every second onto an atom": (0.0, 0.5),
        "half way between atoms": (0.5, 1.0),
        "discount 0, onto an atom": (1.0, 0.0),
        "discount 0, between atoms": (-0.3, 0.0),
        "discount 0, onto the last atom": (2.0, 0.0),
        "all above the support": (9.0, 0.9),
        "all below the support": (-9.0, 0.9),
        "wider than the support": (0.25, 3.0),
        "ordinary": (0.37, 0.99),
    }
    reward, discount = np.array(list(rows.values())).T
    support = np.linspace(-2.0, 2.0, 5)
    probs = np.round(RANDOM.dirichlet(np.ones(5), len(rows)), 3)
    probs[:, -1] = np.round(1 - probs[:, :-1].sum(-1), 3)
    inputs = {"support": support, "probs": probs, "reward": reward, "discount": discount}
    record(
        "categorical projection",
        "rlax",
        "categorical_l2_project",
        "target atoms reward + discount * support; rows: " + "; ".join(rows),
        inputs=inputs,
        outputs={"probs": project(support, probs, reward, discount)},
    )
    support = np.linspace(-10.0, 10.0, 51)
    probs = np.full((4, 51), 0.02)
    probs[:, 25] = 0.0
    reward, discount = np.array([0.4, -1.2, 0.0, 4.0]), np.array([1.0, 1.0, 0.5, 0.0])
    record(
        "categorical projection, 51 atoms",
        "rlax",
        "categorical_l2_project",
        """Atoms 0.4 apart: targets land on atoms in real numbers, not always in floating point; mass that
        is lost there shows here.""",
        inputs={"v_min": -10.0, "v_max": 10.0, "probs": probs, "reward": reward, "discount": discount},
        outputs={"probs": project(support, probs, reward, discount)},
    )


def categorical() -> None:
    support = np.linspace(-1.0, 3.0, 5)
    inputs = {
        "support": support,
        "logits": draw(8, 3, 5),
        "action": np.array([0, 1, 2, 0, 1, 2, 0, 1]),
        "reward": np.array([0.3, 1.0, -0.45, 5.0, -5.0, 0.7, -0.2, 0.05]),
        "discount": np.array([0.99, 1.0, 0.0, 0.9, 0.9, 0.970299, 0.99, 0.99]),
        "logits_next_target": draw(8, 3, 5),
        "q_next_online": draw(8, 3),
    }
    _, logits, action, reward, discount, following, online = inputs.values()
    arguments = (support, logits, action, reward, discount, support, following)
    axes = (None, 0, 0, 0, 0, None, 0)
    outputs = {
        "loss": each(rlax.categorical_q_learning, *arguments, axes=axes),
        "loss_double": each(rlax.categorical_double_q_learning, *arguments, online, axes=(*axes, 0)),
    }
    record(
        "categorical loss",
        "rlax",
        "categorical_q_learning, categorical_double_q_learning",
        "Cross-entropy of the projected target and the prediction; double: q_next_online chooses the action.",
        inputs=inputs,
        outputs=outputs,
    )


def quantile() -> None:
    inputs = {
        "value": draw(4, 3, 5, scale=1.5),
        "tau": np.array([0.1, 0.3, 0.5, 0.7, 0.9]),
        "action": np.array([2, 0, 1, 2]),
        "reward": draw(4),
        "discount": np.array([0.99, 0.0, 0.970299, 0.99]),
        "value_next_target": draw(4, 3, 5, scale=1.5),
        "value_next_online": draw(4, 3, 5, scale=1.5),
    }
    value, tau, action, reward, discount, target, online = inputs.values()
    value, target, online = (array.swapaxes(-1, -2) for array in (value, target, online))  # [B, N, A]

    def loss(selector: Any, huber: float) -> Any:
        return each(
            lambda z, a, r, d, s, t: rlax.quantile_q_learning(z, tau, a, r, d, s, t, huber),
            *(value, action, reward, discount, selector, target),
        )

    outputs = {}
    for huber in (0.0, 1.0, 0.5, 2.0):
        outputs[f"loss_{huber:g}"] = loss(target, huber)
        outputs[f"loss_double_{huber:g}"] = loss(online, huber)
    record(
        "quantile loss",
        "rlax",
        "quantile_q_learning",
        """loss_k: Huber's parameter k. rlax: |tau - (delta < 0)| * L_k(delta), L_k(delta) = delta^2 / 2 up
        to k and k (|delta| - k / 2) beyond, NOT divided by k; k = 0: |tau - (delta < 0)| * |delta|; the mean
        over the target's quantiles, the sum over the prediction's.""",
        inputs=inputs,
        outputs=outputs,
    )


def implicit_quantile() -> None:
    inputs = {
        "value": draw(4, 3, 4, scale=1.5),
        "tau": np.round(RANDOM.random((4, 4)), 3),
        "action": np.array([1, 2, 0, 1]),
        "reward": draw(4),
        "discount": np.array([0.99, 0.99, 0.0, 0.970299]),
        "value_next_target": draw(4, 3, 6, scale=1.5),
        "value_next_selector": draw(4, 3, 5, scale=1.5),
    }
    value, tau, action, reward, discount, target, selector = inputs.values()

    def loss(huber: float) -> Any:
        return each(
            lambda z, u, a, r, d, s, t: rlax.quantile_q_learning(z.T, u, a, r, d, s.T, t.T, huber),
            *(value, tau, action, reward, discount, selector, target),
        )

    record(
        "implicit quantile loss",
        "rlax",
        "quantile_q_learning",
        """N = 4 samples of the prediction at tau, N' = 6 of the target, K = 5 others that choose the action.
        loss_k: Huber's parameter k, not divided by k; the mean over N', the sum over N.""",
        inputs=inputs,
        outputs={"loss_1": loss(1.0), "loss_2": loss(2.0)},
    )


def acme_losses() -> ModuleType:
    """Return acme's module of losses, loaded without the packages that only its learners need.

    It was written for older versions of JAX: jnp.DeviceArray (in annotations) and the argument names of
    jnp.clip are given back to it.
    """

    class OlderNumpy:
        DeviceArray = jax.Array

        @staticmethod
        def clip(x: Any, a_min: float, a_max: float) -> Any:
            return jnp.clip(x, a_min, a_max)

        def __getattr__(self, name: str) -> Any:
            return getattr(jnp, name)

    path = importlib.metadata.distribution("dm-acme").locate_file("acme/agents/jax/dqn/losses.py")
    spec = importlib.util.spec_from_file_location("acme_losses", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    dqn = SimpleNamespace(learning_lib=SimpleNamespace(LossFn=object, LossExtra=dict))
    stubs = {"acme": MagicMock(), "acme.agents.jax.dqn": dqn, "acme.jax": MagicMock(), "reverb": MagicMock()}
    with patch.dict(sys.modules, stubs), patch.object(jax.numpy, "DeviceArray", jax.Array, create=True):
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    module.jnp = OlderNumpy()
    return module


def munchausen() -> None:
    losses = acme_losses()

    def add(name: str, note: str, alpha: float, inputs: dict[str, Any]) -> None:
        q, action, reward, discount, q_target, q_next = inputs.values()

        def total(q: Any, huber: float, row: slice) -> Any:
            function = losses.MunchausenQLearning(
                entropy_temperature=0.03,
                munchausen_coefficient=alpha,
                clip_value_min=-1.0,
                discount=1.0,
                max_abs_reward=1e6,
                huber_loss_parameter=huber,
            )
            # One sample at a time: acme returns the mean over the batch. A net is a table here.
            network = SimpleNamespace(apply=lambda params, obs: params[obs][row])
            names = ("action", "reward", "discount")
            fields = {name: array[row] for name, array in zip(names, (action, reward, discount), strict=True)}
            transition = SimpleNamespace(observation="obs", next_observation="next", **fields)
            tables = ({"obs": q}, {"obs": q_target, "next": q_next})
            return function(network, *tables, SimpleNamespace(data=transition), None)[0]

        rows = [slice(i, i + 1) for i in range(len(action))]
        slope = sum(jax.grad(total)(jnp.asarray(q), 1e6, row) for row in rows)  # prediction - target
        taken = np.arange(len(action)), action
        record(
            name,
            "dm-acme",
            "acme.agents.jax.dqn.losses.MunchausenQLearning",
            note
            + " Float32 in part. target: read off the loss's gradient, in the region where it is squared.",
            inputs={**inputs, "temperature": 0.03, "alpha": alpha, "clip": -1.0},
            outputs={
                "target": (q - np.asarray(slope))[taken],
                "loss_huber_1": [total(q, 1.0, row) for row in rows],
            },
        )

    def inputs(scale: float) -> dict[str, Any]:
        return {
            "q": draw(6, 4, scale=scale),
            "action": np.array([0, 1, 2, 3, 0, 1]),
            "reward": np.array([0.5, -0.25, 1.0, 0.0, -1.0, 0.125]),
            "discount": np.array([0.9375, 0.9375, 0.0, 0.875, 1.0, 0.9375]),
            "q_target": draw(6, 4, scale=scale),
            "q_next_target": draw(6, 4, scale=scale),
        }

    add("munchausen", "Close values: temperature * log policy stays above the clip.", 0.9, inputs(0.05))
    far = inputs(3.0)
    add("munchausen, clipped", "Values far apart: the clip binds in most rows.", 0.9, far)
    add("munchausen, alpha 0", "The soft backup alone.", 0.0, inputs(0.05))


def prioritized() -> None:
    priority = np.array([0.5, 2.0, 1.0, 4.0, 0.25, 1.5, 0.75])
    batch = np.array([3, 1, 1, 5, 2])  # neither the least priority nor every row

    def tianshou_values(alpha: float, beta: float) -> dict[str, Any]:
        buffer = PrioritizedReplayBuffer(len(priority), alpha=alpha, beta=beta)
        for i in range(len(priority)):
            buffer.add(Batch(obs=i, act=0, rew=0.0, terminated=False, truncated=False, obs_next=i, info={}))
        buffer.update_weight(np.arange(len(priority)), priority)
        mass = np.asarray(buffer.weight[np.arange(len(priority))])
        return {"probability": mass / buffer.weight.reduce(), "weight": buffer[batch].weight}

    def cpprb_buffer(alpha: float) -> Any:
        buffer = cpprb.PrioritizedReplayBuffer(16, {"obs": {}}, alpha=alpha, eps=0.0)
        for i in range(len(priority)):
            buffer.add(obs=i)
        buffer.update_priorities(np.arange(len(priority)), priority)
        return buffer

    def cpprb_weight(buffer: Any, beta: float) -> np.ndarray:
        """Return the weight of every row; so many are drawn that each is among them."""
        sample = buffer.sample(4000, beta=beta)
        found = dict(zip(sample["indexes"].tolist(), sample["weights"].tolist(), strict=True))
        return np.array([found[i] for i in range(len(found))])

    for alpha, beta in ((0.5, 0.4), (0.6, 1.0)):
        inputs = {"priority": priority, "alpha": alpha, "beta": beta}
        record(
            f"prioritized, buffer maximum, alpha {alpha}",
            "cpprb",
            "PrioritizedReplayBuffer",
            "weight of every row, over the largest of the buffer; float32.",
            inputs=inputs,
            outputs={"weight": cpprb_weight(cpprb_buffer(alpha), beta)},
        )
        record(
            f"prioritized, batch maximum, alpha {alpha}",
            "tianshou",
            "data.PrioritizedReplayBuffer",
            """probability of every row; weight of the rows in `batch`, over the largest of that batch. It
            adds 1.2e-7 to each priority.""",
            inputs={**inputs, "batch": batch},
            outputs=tianshou_values(alpha, beta),
        )
    buffer = cpprb_buffer(0.5)
    buffer.update_priorities(np.array([3]), np.array([0.25]))
    buffer.add(obs=len(priority))
    weight = cpprb_weight(buffer, 1.0)
    record(
        "prioritized, new row",
        "cpprb",
        "PrioritizedReplayBuffer",
        """Row 3 had the largest priority so far and got a small one, then a row was added. With beta 1 a
        weight is inversely proportional to the probability; probability is that, normalised.""",
        inputs={"priority": priority, "alpha": 0.5, "changed": 3, "changed_to": 0.25},
        outputs={"probability": (1 / weight) / (1 / weight).sum()},
    )


def n_step() -> None:
    length = 14
    reward, value, gamma = draw(length), draw(length), 0.9
    terminated, truncated = np.zeros(length, bool), np.zeros(length, bool)
    terminated[[4, 9]] = True  # episodes of 5, 4, 1 and 4 steps
    truncated[[8, 13]] = True
    inputs = {
        "reward": reward,
        "terminated": terminated.astype(int),
        "truncated": truncated.astype(int),
        "gamma": gamma,
        "value_next": value,
    }
    buffer = ReplayBuffer(length)
    for i in range(length):
        ends = {"terminated": bool(terminated[i]), "truncated": bool(truncated[i])}
        buffer.add(Batch(obs=i, act=0, rew=reward[i], obs_next=i + 1, info={}, **ends))
    discounts = jnp.where(terminated, 0.0, gamma)
    lambdas = jnp.where(truncated, 0.0, 1.0)  # rlax bootstraps where lambda is 0
    for n in (1, 3, 6):

        def returns(v: Any, n: int = n) -> Any:
            return rlax.n_step_bootstrapped_returns(jnp.asarray(reward), discounts, v, n, lambdas)

        slopes = np.asarray(
            jax.jacobian(returns)(jnp.asarray(value))
        )  # [start, step that it bootstraps from]
        record(
            f"n-step, n {n}",
            "rlax",
            "n_step_bootstrapped_returns",
            """Of each start: the sum of rewards (the return where all values are 0), the discount of the
            value it bootstraps from, and the step whose next observation that is (-1: none); both are the
            return's derivative by the values. value_next[i] is the value after step i. Where
            truncated, lambda is 0.""",
            inputs={**inputs, "n": n},
            outputs={
                "reward_sum": returns(jnp.zeros(length)),
                "discount": slopes.sum(-1),
                "bootstrap_step": np.where(slopes.any(-1), np.abs(slopes).argmax(-1), -1),
                "return": returns(jnp.asarray(value)),
            },
        )
        batch = Algorithm.compute_nstep_return(
            buffer[np.arange(length)],
            buffer,
            np.arange(length),
            lambda _, index: torch.as_tensor(value[index]),
            gamma,
            n,
        )
        record(
            f"n-step again, n {n}",
            "tianshou",
            "algorithm.algorithm_base.Algorithm.compute_nstep_return",
            "It reads the ends from its buffer's terminated and truncated.",
            inputs={**inputs, "n": n},
            outputs={"return": batch.returns.flatten()},
        )


def dueling() -> None:
    for atoms in (1, 3):
        torch.manual_seed(0)
        net = Net(
            state_shape=3,
            action_shape=4,
            hidden_sizes=(),
            num_atoms=atoms,
            dueling_param=({"hidden_sizes": ()}, {"hidden_sizes": ()}),
        )
        seen: dict[str, torch.Tensor] = {}
        net.Q.register_forward_hook(lambda *x, seen=seen: seen.update(advantage=x[-1].detach()))
        net.V.register_forward_hook(lambda *x, seen=seen: seen.update(value=x[-1].detach()))
        output = net(torch.as_tensor(draw(3, 3), dtype=torch.float32))[0].detach()
        record(
            f"dueling, atoms {atoms}",
            "tianshou",
            "utils.net.common.Net",
            "Its two streams gave advantage [B, A, N] and value [B, N], float32; the mean is over actions.",
            inputs={
                "advantage": seen["advantage"].reshape(3, 4, atoms),
                "value": seen["value"].reshape(3, atoms),
            },
            outputs={"combined": output.reshape(3, 4, atoms)},
        )


def noisy() -> None:
    layer = NoisyLinear(4, 3, dtype=torch.double)
    mu_weight, sigma_weight = draw(3, 4), np.abs(draw(3, 4))
    mu_bias, sigma_bias = draw(3), np.abs(draw(3))
    x, noise_in, noise_out = draw(5, 4), draw(4), draw(3)
    with torch.no_grad():
        layer.weight_mu.copy_(torch.as_tensor(mu_weight))
        layer.weight_sigma.copy_(torch.as_tensor(sigma_weight))
        layer.bias_mu.copy_(torch.as_tensor(mu_bias))
        layer.bias_sigma.copy_(torch.as_tensor(sigma_bias))
        # The layer draws its noise: inputs first, then outputs. Here it draws what we give it.
        with patch.object(
            torch, "randn", side_effect=[torch.as_tensor(noise_in), torch.as_tensor(noise_out)]
        ):
            layer.reset_noise()
        with set_exploration_type(ExplorationType.RANDOM):
            noisy = layer(torch.as_tensor(x))
        with set_exploration_type(ExplorationType.DETERMINISTIC):
            quiet = layer(torch.as_tensor(x))
    record(
        "noisy linear",
        "torchrl",
        "modules.NoisyLinear",
        """Weights are [out, in]. noise_in and noise_out are standard normal, before f(x) = sign(x) sqrt(|x|):
        the weight's noise is f(noise_out) f(noise_in)^T, the bias's f(noise_out). output_quiet: no noise.""",
        inputs={
            "x": x,
            "weight_mu": mu_weight,
            "weight_sigma": sigma_weight,
            "bias_mu": mu_bias,
            "bias_sigma": sigma_bias,
            "noise_in": noise_in,
            "noise_out": noise_out,
        },
        outputs={"output": noisy, "output_quiet": quiet},
    )


def rescaled() -> None:
    length, gamma = 12, 0.95
    random = np.random.default_rng(21)

    def numbers(*shape: int, scale: float) -> np.ndarray:
        return np.round(scale * random.standard_normal(shape), 3)

    reward = numbers(length, scale=100.0)
    reward[[1, 6]] = 0.004, -0.001
    terminated = np.zeros(length, int)
    terminated[[3, 8]] = 1
    q, target, online = (numbers(length, 3, scale=15.0) for _ in range(3))
    action = random.integers(3, size=length)
    inputs = {
        "q": q,
        "action": action,
        "reward": reward,
        "terminated": terminated,
        "truncated": np.eye(length, dtype=int)[-1],
        "gamma": gamma,
        "q_next_target": target,
        "q_next_online": online,
    }
    for n in (1, 3, 5):
        outputs = {
            name: rlax.transformed_n_step_q_learning(
                *map(jnp.asarray, (q, action, target, chooser.argmax(-1), reward)),
                jnp.asarray(gamma * (1 - terminated)),
                n,
                tx_pair=rlax.SIGNED_HYPERBOLIC_PAIR,
            )
            for name, chooser in {"td_error": target, "td_error_double": online}.items()
        }
        record(
            f"rescaled n-step, n {n}",
            "rlax",
            "transformed_n_step_q_learning",
            """Value rescaling with eps = 1e-3. Successive steps: q is before each, the others after it. The
            last step bootstraps. td_error is target minus prediction, both rescaled.""",
            inputs={**inputs, "n": n},
            outputs=outputs,
        )


def plain(value: Any) -> Any:
    """Return nested lists of numbers, rounded to twelve significant digits."""
    if isinstance(value, list):
        value = [plain(element) for element in value]
    elif not isinstance(value, int | float):
        value = plain(np.asarray(value).tolist())
    return float(f"{value:.12g}") if isinstance(value, float) else value


def main() -> None:
    for make in (
        *(q_learning, projection, categorical, quantile, implicit_quantile, munchausen),
        *(prioritized, n_step, dueling, noisy, rescaled),
    ):
        make()
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    lines = ["{", f' "libraries": {json.dumps(versions)},', ' "cases": {']
    for name, case in CASES.items():
        lines.append(f"  {json.dumps(name)}: {{")
        lines.append(f'   "source": {json.dumps(case["source"])},\n   "note": {json.dumps(case["note"])},')
        for part in ("inputs", "outputs"):
            fields = [f"    {json.dumps(key)}: {json.dumps(plain(x))}" for key, x in case[part].items()]
            lines += [f'   "{part}": {{', ",\n".join(fields), "   }," if part == "inputs" else "   }"]
        lines.append("  }," if name != list(CASES)[-1] else "  }")
    lines += [" }", "}"]
    text = "\n".join(lines) + "\n"
    json.loads(text)
    Path(__file__).with_name("values.json").write_text(text)
    print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
