"""Reparametrisation and score function: two estimators of one gradient (T 1456–1495).

    python experiments/primer/gradient_estimators.py [--output=DIR]

For z ~ N(µ, I) in D dimensions and f(z) = ‖z‖²/2, the gradient of E[f] by µ is µ. Reparametrised,
z = µ + ε, an estimate is µ + ε, with variance 1 for each dimension. By the score function it is
f(z)(z − µ), whose variance grows as D²; less a baseline it grows as D. `variance.png` has
the variances by D.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures

ESTIMATORS = ("reparametrisation", "score function", "score function, baseline")


def estimates(mean: np.ndarray, draws: int, seed: int = 0) -> dict[str, np.ndarray]:
    """{estimator: draws [N, D] of the gradient by the mean [D]}.

    The baseline is E[f], which leaves the mean of an estimate unchanged.
    """
    noise = np.random.default_rng(seed).normal(size=(draws, len(mean)))
    z = mean + noise
    loss = 0.5 * (z**2).sum(1, keepdims=True)
    baseline = 0.5 * (mean @ mean + len(mean))
    values = (z, loss * noise, (loss - baseline) * noise)
    return dict(zip(ESTIMATORS, values, strict=True))


def main() -> None:
    """Draws, and pictures the variances."""
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {
        name: {"ln of the variance of a dimension": []} for name in ESTIMATORS
    }
    for dimensions in (1, 2, 4, 8, 16, 32, 64):
        mean = np.full(dimensions, 0.5)
        for name, drawn in estimates(mean, 20_000).items():
            variance = float(drawn.var(0).mean())
            error = np.abs(drawn.mean(0) - mean).max()
            print(f"D = {dimensions}, {name}: variance {variance:.2f}, largest error {error:.3f}")
            panel = curves[name]["ln of the variance of a dimension"]
            panel.append((dimensions, float(np.log(variance))))
    figures.save_curves("variance.png", curves)


if __name__ == "__main__":
    figures.run(main)
