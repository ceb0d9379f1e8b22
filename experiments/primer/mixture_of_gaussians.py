"""A mixture of Gaussians by expectation-maximisation (thesis, 2.2, fig. 2.1).

    python experiments/primer/mixture_of_gaussians.py [--output=DIR]

Each step makes ln p(x) as large as it can be while the components' responsibilities for each point
are held, so that no step lowers it. `mixture.png` has points of eight modes in grey and samples of
mixtures of 1, 2, 4 and 8 components: too few of them cover what lies between the modes.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures
from gm_jax import data
from gm_jax.evaluation.scatter import limits_of, scatter


class Mixture(NamedTuple):
    """Shares [K], means [K, D] and covariances [K, D, D]."""

    shares: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def log_joint(self, x: np.ndarray) -> np.ndarray:
        """ln π_k + ln N(x; µ_k, Σ_k), nats [N, K]."""
        offset = x[:, None] - self.means
        squares = np.einsum("nki,kij,nkj->nk", offset, np.linalg.inv(self.covariances), offset)
        log_det = np.linalg.slogdet(2 * np.pi * self.covariances)[1]
        return np.log(self.shares) - 0.5 * (squares + log_det)

    def sample(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Draws points [count, D]."""
        chosen = generator.choice(len(self.shares), count, p=self.shares)
        roots = np.linalg.cholesky(self.covariances)[chosen]
        normal = generator.normal(size=(count, self.means.shape[1]))
        return self.means[chosen] + np.einsum("nij,nj->ni", roots, normal)


def fit(
    x: np.ndarray, components: int, steps: int = 100, seed: int = 0, floor: float = 1e-6
) -> tuple[Mixture, list[float]]:
    """A mixture after some steps of EM, and the mean nats before each step.

    The means start at points that are drawn far from each other. The floor is added to the
    diagonals of covariances, so that no component falls onto a single point.
    """
    generator = np.random.default_rng(seed)
    means = x[generator.integers(len(x), size=1)]
    while len(means) < components:
        distance = ((x[:, None] - means) ** 2).sum(-1).min(1)
        means = np.concatenate([means, x[generator.choice(len(x), 1, p=distance / distance.sum())]])
    identity = np.eye(x.shape[1])
    mixture = Mixture(
        np.full(components, 1 / components), means, np.tile(np.cov(x.T), (components, 1, 1))
    )
    nats = []
    for _ in range(steps):
        joint = mixture.log_joint(x)
        nats.append(float(logsumexp(joint, 1).mean()))
        responsible = np.exp(joint - logsumexp(joint, 1, keepdims=True))
        count = responsible.sum(0)
        means = responsible.T @ x / count[:, None]
        offset = x[:, None] - means
        spread = np.einsum("nk,nki,nkj->kij", responsible, offset, offset)
        mixture = Mixture(count / len(x), means, spread / count[:, None, None] + floor * identity)
    return mixture, nats


def main() -> None:
    """Fits four mixtures and draws them."""
    x = np.float64(data.load("points:ring", "train").arrays["point"][:2_000])
    generator, pictures, limits = np.random.default_rng(1), [], limits_of(x)
    for components in (1, 2, 4, 8):
        mixture, nats = fit(x, components)
        print(
            f"{components} components: {nats[0]:.3f} nats at the start, {nats[-1]:.3f} at the end"
        )
        drawn = mixture.sample(1_000, generator)
        pictures.append(scatter(x, drawn, limits=limits, size=256))
    figures.save("mixture.png", np.concatenate(pictures, 1))


if __name__ == "__main__":
    figures.run(main)
