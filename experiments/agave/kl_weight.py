"""AGAVE for several λ: the effect of the KL divergence's weight (thesis 3.4.3, figs 3.3 and 3.4).

    python experiments/agave/kl_weight.py [--kl_weight=1 --kl_weight=2 …] [--variant=cifar10]
        [--steps=N] [--output=DIR]

It writes into the output folder

- `bits_per_dim.csv`, a row per λ, on the test images: the bounds of AGAVE and of its VAE alone,
  both with KL weight 1 and one sample of z, and their parts (fig. 3.4). The footnote there names
  Eq. 3.13; the text, like this table, adds the KL and the reconstruction term of each decoder.
- `reconstructions.png`: test images, then for each λ their f(z) and the PixelCNN's draw given it
  (fig. 3.3a);
- `samples.png`: for each λ, f(z) from the prior and the PixelCNN's draw (fig. 3.3b).

A run lies in `DIR/kl_weight_<λ>-seed_<seed>`; finished runs are not trained again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import command_line, sweep
from gm_jax.training.run import load_split

KL_WEIGHTS = (1.0, 2.0, 4.0, 8.0, 12.0)
COLUMNS = 10  # columns of the pictures
# The VAE's bound is a bound for x only if the auxiliary image is x.
WHOLE_IMAGE = {
    "model.auxiliary.downsampling": 1,
    "model.auxiliary.grayscale": False,
    "model.auxiliary.levels": 0,
}


def compare(config: ConfigDict, kl_weights: Sequence[float], output: str) -> list[dict[str, Any]]:
    """Trains AGAVE once for each λ; writes the table and the pictures, and returns the rows."""
    with command_line.refusals():
        whole = sweep.with_fields(config, WHOLE_IMAGE)
        members = sweep.product(whole, {"model.kl_weight": kl_weights}, [config.seed])
    scores = program.train_all({name: run.config for name, run in members.items()}, output)
    rows = [row(run.fields["model.kl_weight"], scores[name]) for name, run in members.items()]
    program.write_csv(f"{output}/bits_per_dim.csv", rows)
    program.picture_runs(list(members), output, load_split(config.data, "test").images, COLUMNS)
    return rows


def row(kl_weight: float, scores: dict[str, Any]) -> dict[str, Any]:
    """Bits/dim of both bounds and of their parts, from a run's `test.json`."""
    return {
        "kl_weight": f"{kl_weight:g}",
        "step": scores["step"],
        "num_images": scores["num_images"],
        "agave_bits_per_dim": scores["bits_per_dim"],
        "standard_error": scores["standard_error"],
        "vae_bits_per_dim": scores["auxiliary"] + scores["kl"],
        "kl": scores["kl"],
        "pixelcnn_reconstruction": scores["autoregressive"],
        "vae_reconstruction": scores["auxiliary"],
    }


def main(_: list[str]) -> None:
    """Reads the flags."""
    options = flags.FLAGS
    config = program.load_config("agave", options.variant, options.steps)
    compare(config, options.kl_weight, options.output)


if __name__ == "__main__":
    program.define_flags("runs/agave-kl_weight")
    flags.DEFINE_multi_float("kl_weight", KL_WEIGHTS, "λ of Eq. 3.13; repeatable.", lower_bound=0)
    program.run(main)
