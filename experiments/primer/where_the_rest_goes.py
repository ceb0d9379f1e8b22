"""Maximum likelihood does not see where the rest of the mass goes (Theis et al., 2016; T 2.13).

    python experiments/primer/where_the_rest_goes.py [--output=DIR]

A model that is good with probability 1 − s and draws noise with probability s loses at most
−ln(1 − s) nats on any image. With s = ½ this is ln 2: a 64th of a bit per dimension on digits,
while every second sample is noise. `samples.png` has samples for s = 0, ½ and .99; the good model
is a mixture of Gaussians that EM fits to digits.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures
from experiments.primer.mixture_of_gaussians import Mixture, fit

COMPONENTS, FLOOR = 20, 2e-3  # FLOOR keeps unusual test digits from an improbable end


def nats_with_noise(good: np.ndarray, of_noise: float, share: float) -> np.ndarray:
    """ln((1 − s)·p(x) + s·noise(x)), of ln p(x) [N] and the density of the noise."""
    if not share:
        return good
    return np.logaddexp(np.log1p(-share) + good, np.log(share) + of_noise)


def dequantised(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Digits as points in [0, 1]^64: densities of them bound the likelihood of their levels."""
    flat = images.reshape(len(images), -1)
    return (flat + generator.uniform(size=flat.shape)) / 17


def drawn(model: Mixture, share: float, generator: np.random.Generator) -> np.ndarray:
    """16 samples, float [16, 8, 8, 1] in [−1, 1]."""
    noise = generator.uniform(size=(16, 64))
    bad = generator.uniform(size=(16, 1)) < share
    points = np.where(bad, noise, model.sample(16, generator))
    return 2 * points.reshape(-1, 8, 8, 1) - 1


def main() -> None:
    """Fits, spoils, scores and draws."""
    generator = np.random.default_rng(0)
    model, _ = fit(dequantised(figures.digits(), generator), COMPONENTS, steps=30, floor=FLOOR)
    test = dequantised(figures.digits("test"), generator)
    good = logsumexp(model.log_joint(test), 1)
    rows = []
    for share in (0.0, 0.5, 0.99):
        nats = nats_with_noise(good, 0.0, share)  # noise has the density 1
        bits = np.log2(17) - nats.mean() / (64 * np.log(2))
        print(f"noise in {share:.0%} of the samples: {bits:.4f} bits/dim on test digits")
        rows.append(drawn(model, share, generator))
    figures.save_images("samples.png", rows)


if __name__ == "__main__":
    figures.run(main)
