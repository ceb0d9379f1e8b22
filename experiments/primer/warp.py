"""A flow bends the plane until the data are a Gaussian (thesis 2.6, fig. 2.5).

    python experiments/primer/warp.py [--steps=1500] [--output=DIR]

It trains Real-NVP on two spirals by `configs/flow.py:real_nvp,spirals`. `warp.png` has, on the
left, the data with the lines of the latents' grid mapped into their plane, and on the right the
latents of the data with the same lines, straight.
"""

import sys
from pathlib import Path

import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from experiments.primer import figures
from gm_jax import data, load
from gm_jax.evaluation.scatter import scatter


def lines(count: int = 13, points: int = 400, end: float = 3.0) -> np.ndarray:
    """Points on the lines of a square grid, [2 · count · points, 2]."""
    along, across = np.linspace(-end, end, points), np.linspace(-end, end, count)
    upright = np.stack(np.meshgrid(across, along, indexing="ij"), -1).reshape(-1, 2)
    return np.float32(np.concatenate([upright, upright[:, ::-1]]))


def main() -> None:
    """Trains what is missing, maps and draws."""
    folder = Path(flags.FLAGS.output) / "run"
    config = program.load_config("flow", "real_nvp,spirals", flags.FLAGS.steps)
    program.train(config, folder)
    model = load.load(folder)
    points = data.load(config.data.source, "test").arrays["point"][:1_500]
    latents, grid = np.asarray(model.encode(points)), lines()
    bent = np.asarray(model.decode(grid)["point"])
    again = np.asarray(model.decode(latents)["point"])
    print(f"mean of the latents {latents.mean(0)}, deviation {latents.std(0)}")
    print(
        f"largest error of points that are encoded and decoded: {np.abs(again - points).max():.1e}"
    )
    left, right = scatter(points, bent, radius=0), scatter(latents, grid, radius=0)
    figures.save("warp.png", np.concatenate([left, right], 1))


if __name__ == "__main__":
    flags.DEFINE_integer("steps", 1_500, "Steps of the training.", 1)
    figures.run(main)
