"""Why a factored decoder and a discriminator pull apart, and how a feature space resolves it.

    python experiments/primer/factored_decoder.py [--output=DIR]

Two pixels depend on each other: x₂ ~ N(x₁²/2, .2²) (adaptive density estimation, fig. 4; thesis
2.9.1). A decoder that is independent in the pixels must be wide to cover the data, which maximum
likelihood asks for, and narrow for good samples, which a discriminator asks for: no weight of both
makes both small. One that is independent in the features f(x) = (x₁, x₂ − x₁²/2), where f is a
coupling layer, is both at once. `samples.png` has data in grey and samples: of maximum likelihood,
of an equal weight, of the adversary alone, and in the space of features.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures
from gm_jax.evaluation.scatter import scatter

STD = 0.2
X1, X2 = np.meshgrid(np.linspace(-5, 5, 401), np.linspace(-4, 13, 681))
AREA = (10 / 400) * (17 / 680)


def log_normal(x: np.ndarray, mean: float | np.ndarray, std: float) -> np.ndarray:
    """ln N(x; mean, std²)."""
    return -0.5 * ((x - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))


LOG_P = log_normal(X1, 0, 1) + log_normal(X2, X1**2 / 2, STD)


def features(x: np.ndarray) -> np.ndarray:
    """f of points [N, 2]; its Jacobian has the determinant 1."""
    return np.stack([x[:, 0], x[:, 1] - x[:, 0] ** 2 / 2], 1)


def inverse(y: np.ndarray) -> np.ndarray:
    """f⁻¹ of features [N, 2]."""
    return np.stack([y[:, 0], y[:, 1] + y[:, 0] ** 2 / 2], 1)


def log_factored(parameters: np.ndarray) -> np.ndarray:
    """ln q on the grid, of both means and both log-deviations."""
    mean, std = parameters[:2], np.exp(parameters[2:])
    return log_normal(X1, mean[0], std[0]) + log_normal(X2, mean[1], std[1])


def divergences(log_q: np.ndarray) -> tuple[float, float]:
    """KL(p ‖ q) and KL(q ‖ p) in nats, by sums over the grid."""
    p, q = np.exp(LOG_P), np.exp(log_q)
    return float((p * (LOG_P - log_q)).sum() * AREA), float((q * (log_q - LOG_P)).sum() * AREA)


def fitted(weight: float) -> np.ndarray:
    """The factored q of least (1 − w)·KL(p ‖ q) + w·KL(q ‖ p): its parameters."""

    def loss(parameters: np.ndarray) -> float:
        covers, samples = divergences(log_factored(parameters))
        return (1 - weight) * covers + weight * samples

    start = np.array([0.0, 0.5, 0.0, 0.0])
    return minimize(loss, start, method="BFGS").x


def main() -> None:
    """Fits, compares and draws."""
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(1_000, 2))
    data = inverse(generator.normal(size=(2_000, 2)) * [1, STD])
    pictures, limits = [], (-4.0, 4.0, -2.0, 6.0)
    for weight in (0.0, 0.5, 1.0):
        parameters = fitted(weight)
        covers, samples = divergences(log_factored(parameters))
        print(f"pixels, weight {weight}: KL(p | q) {covers:.3f}, KL(q | p) {samples:.3f} nats")
        points = parameters[:2] + np.exp(parameters[2:]) * drawn
        pictures.append(scatter(data, points, limits=limits, size=256))
    of_features = log_normal(X1, 0, 1) + log_normal(X2 - X1**2 / 2, 0, STD)
    covers, samples = divergences(of_features)
    print(f"features, any weight: KL(p | q) {covers:.3f}, KL(q | p) {samples:.3f} nats")
    pictures.append(scatter(data, inverse(drawn * [1, STD]), limits=limits, size=256))
    figures.save("samples.png", np.concatenate(pictures, 1))


if __name__ == "__main__":
    figures.run(main)
