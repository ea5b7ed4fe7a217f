"""Make tests/data/rliable.json: results of rliable 1.2 for fixed scores.

Run it in a separate environment, because rliable 1.2 does not work with pandas 3:

python3 -m venv rliable && rliable/bin/pip install rliable==1.2.0 "pandas<3"
rliable/bin/python tests/make_rliable.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rliable import library, metrics

RESAMPLES = 50_000
THRESHOLDS = [-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5]
PACKAGES = ("rliable", "arch", "numpy", "scipy", "pandas")


def cases() -> dict[str, dict[str, np.ndarray]]:
    """Return scores X [K, M] and Y [L, M] of one task and of several, with ties, few seeds and many."""
    rng = np.random.default_rng(0)
    return {
        "one task": {"x": rng.normal(0.6, 0.4, (10, 1)), "y": rng.normal(0.4, 0.3, (7, 1))},
        "three seeds": {"x": rng.normal(0.6, 0.4, (3, 1)), "y": rng.normal(0.4, 0.3, (3, 1))},
        "several tasks": {"x": rng.gamma(1.0, 0.7, (5, 6)), "y": rng.gamma(1.0, 0.5, (8, 6))},
        "ties": {"x": rng.integers(0, 5, (12, 3)) / 4, "y": rng.integers(0, 4, (12, 3)) / 4},
    }


def interval(scores: object, function: object) -> dict[str, object]:
    """Return a statistic and its percentile interval."""
    points, intervals = library.get_interval_estimates({"it": scores}, function, reps=RESAMPLES)
    return {"value": points["it"].tolist(), "interval": intervals["it"].tolist()}


def results_of(x: np.ndarray, y: np.ndarray) -> dict[str, object]:
    """Return the statistics of X, and those that compare X with Y."""
    aggregates = {
        "iqm": metrics.aggregate_iqm,
        "mean": metrics.aggregate_mean,
        "median": metrics.aggregate_median,
    }
    results = {name: interval(x, lambda s, f=f: np.array([f(s)])) for name, f in aggregates.items()}
    results["profile"] = interval(x, lambda s: library.score_distributions(s, THRESHOLDS))
    results["probability_of_improvement"] = interval(
        [x, y], lambda a, b: np.array([metrics.probability_of_improvement(a, b)])
    )
    return {"x": x.tolist(), "y": y.tolist()} | results


def efficiency() -> dict[str, object]:
    """Return the interquartile mean of returns [K, M, T] at each step."""
    rng = np.random.default_rng(1)
    returns = rng.normal(np.linspace(0, 1, 5), 0.3, (8, 2, 5))

    def function(scores: np.ndarray) -> np.ndarray:
        return np.array([metrics.aggregate_iqm(scores[..., t]) for t in range(scores.shape[-1])])

    return {"returns": returns.tolist()} | interval(returns, function)


def main() -> None:
    np.random.seed(0)  # noqa: NPY002  rliable draws from the global generator
    about = {"versions": {name: version(name) for name in PACKAGES}, "resamples": RESAMPLES}
    about["thresholds"] = THRESHOLDS
    numbers = {name: results_of(**scores) for name, scores in cases().items()}
    document = {"about": about, "cases": numbers, "efficiency": efficiency()}
    path = Path(__file__).parent / "data" / "rliable.json"
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
