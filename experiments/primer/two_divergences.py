"""KL(p ‖ q) covers, KL(q ‖ p) chooses: over-generalisation and mode dropping (thesis, 1.2, 2.9).

    python experiments/primer/two_divergences.py [--output=DIR]

A Gaussian q is fitted to a p of two modes. The q of least KL(p ‖ q), which maximum likelihood
minimises, has p's mean and variance, and covers what lies between the modes. That of least
KL(q ‖ p) sits on one mode and does not know the other. `densities.png` has p and both.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures

X = np.linspace(-8, 8, 4_001)
WIDTH = X[1] - X[0]


def normal(mean: float, std: float) -> np.ndarray:
    """The density of N(mean, std²) on the grid X."""
    return np.exp(-0.5 * ((X - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))


def two_modes(share: float = 0.6) -> np.ndarray:
    """The density of two Gaussians at −2 and 2, on the grid X."""
    return share * normal(-2, 0.5) + (1 - share) * normal(2, 0.5)


def divergence(a: np.ndarray, b: np.ndarray) -> float:
    """KL(a ‖ b) in nats, of densities on the grid X."""
    tiny = np.finfo(np.float64).tiny
    return float(np.sum(a * (np.log(a + tiny) - np.log(b + tiny))) * WIDTH)


def fitted(p: np.ndarray, forward: bool) -> tuple[float, float]:
    """Mean and deviation of the Gaussian q of least KL(p ‖ q), or else KL(q ‖ p).

    The second has a minimum at each mode; the best of two starts is taken.
    """

    def loss(parameters: np.ndarray) -> float:
        q = normal(parameters[0], np.exp(parameters[1]))
        return divergence(p, q) if forward else divergence(q, p)

    found = [minimize(loss, [start, 0.0], method="BFGS") for start in (-1.0, 1.0)]
    best = min(found, key=lambda result: result.fun).x
    return float(best[0]), float(np.exp(best[1]))


def main() -> None:
    """Fits both and draws them."""
    p = two_modes()
    curves = {"p": p}
    for name, forward in (("least KL(p | q)", True), ("least KL(q | p)", False)):
        mean, std = fitted(p, forward)
        q = normal(mean, std)
        between = float(q[np.abs(X) < 0.5].sum() * WIDTH)
        print(
            f"{name}: mean {mean:.3f}, deviation {std:.3f}, KL(p | q) {divergence(p, q):.3f}, "
            f"KL(q | p) {divergence(q, p):.3f} nats, mass between the modes {between:.3f}"
        )
        curves[name] = q
    lines = {
        name: {"density": [(number, float(y)) for number, y in enumerate(density)][::10]}
        for name, density in curves.items()
    }
    figures.save_curves("densities.png", lines)


if __name__ == "__main__":
    figures.run(main)
