"""What each level of latents holds: images drawn anew below it (Gulrajani et al., 2017, fig. 6).

    python experiments/latents/levels.py --workdir=RUN [--num_images=8] [--num_draws=3]
        [--output=DIR]

The run is one of `configs/pixel_vae.py` or `configs/agave.py`, such as `levels_1x3-seed_0` of
`who_uses_them.py`. It writes `levels.png`: test images; then, for each number of levels kept from
the top, some draws of all that is below: with 0 these are samples, with all of them the pixels
alone are new. It prints how far each draw is from its image, as the mean squared distance on the
scale [−1, 1], and writes that to `levels.csv`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import command_line, load
from gm_jax.distributions import scale_to_unit
from gm_jax.training.run import load_split


def compare(workdir: str, num_images: int, num_draws: int, output: str) -> list[dict[str, Any]]:
    """Writes the picture and the table; returns its rows."""
    with command_line.refusals():
        model = load.load(workdir)
        images = np.asarray(load_split(model.config.data, "test").images[:num_images])
        depth = len(model.encode(images[:1]))
        pictures, rows = {"test images": images}, []
        for kept in range(depth + 1):
            draws = [model.resample(images, kept, seed)["image"] for seed in range(num_draws)]
            for number, draw in enumerate(draws):
                pictures[f"{kept} levels kept, draw {number}"] = draw
            x, drawn = (scale_to_unit(each, model.levels) for each in (images, np.stack(draws)))
            rows.append({"levels_kept": kept, "squared_distance": float(np.mean((drawn - x) ** 2))})
    program.write_csv(f"{output}/levels.csv", rows)
    program.save_rows(f"{output}/levels.png", pictures, model.levels)
    return rows


def main(_: list[str]) -> None:
    """Reads the flags."""
    options = flags.FLAGS
    compare(options.workdir, options.num_images, options.num_draws, options.output)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "A trained run with latents in levels.", required=True)
    flags.DEFINE_integer("num_images", 8, "Columns of the picture.", 1)
    flags.DEFINE_integer("num_draws", 3, "Draws for each number of levels kept.", 1)
    flags.DEFINE_string("output", "runs/latents-levels", "Folder for picture and table.")
    program.run(main)
