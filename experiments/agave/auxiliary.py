"""AGAVE for several auxiliary images y: fewer levels, fewer pixels, no colour (thesis 3.4.5).

    python experiments/agave/auxiliary.py [--setting=levels_17 --setting=half …] [--kl_weight=8]
        [--variant=cifar10] [--steps=N] [--output=DIR]

Images of L levels are sketched at L/8, L/4, L/2 and L levels (fig. 3.8), at half and a quarter of
their side, and, if they have colour (the digits have none), in 16 levels of grey (fig. 3.9). λ is
the config's by default; figure 3.8 uses λ = 8. The program writes into the output folder

- `bits_per_dim.csv`, a row per setting, on the test images: the bound on ln p(x) with KL weight 1
  and one sample of z, and its parts. `auxiliary` is −ln p(y | z) per value *of x*; y differs
  between rows, so this column is not comparable;
- `reconstructions.png`: test images, then for each setting their f(z) and the PixelCNN's draw;
- `samples.png`: for each setting, f(z) from the prior and the PixelCNN's draw.

A run lies in `DIR/<setting>`; finished runs are not trained again.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import command_line, sweep
from gm_jax.training.run import load_split

COLUMNS = 10  # columns of the pictures
GREYS = 16  # 4 bits


def settings(levels: int, channels: int) -> dict[str, dict[str, Any]]:
    """{name: fields of `model.auxiliary`} for images with these levels and channels."""
    whole = {"downsampling": 1, "grayscale": False, "levels": 0}
    fewer = [b for b in (levels // 8, levels // 4, levels // 2) if b >= 2]
    table = {f"levels_{b}": {**whole, "levels": b} for b in fewer}
    table[f"levels_{levels}"] = whole
    table["half"] = {**whole, "downsampling": 2}
    table["quarter"] = {**whole, "downsampling": 4}
    if channels == 3:
        table[f"grey_{GREYS}"] = {**whole, "grayscale": True, "levels": GREYS}
    return table


def chosen(table: dict[str, dict[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings with these names, or all if none is given; refuses unknown names."""
    for name in names:
        if name not in table:
            program.refuse(f"--setting={name}: choose among {', '.join(table)}")
    return {name: table[name] for name in names} if names else table


def compare(
    config: ConfigDict, auxiliaries: Mapping[str, dict[str, Any]], output: str
) -> list[dict[str, Any]]:
    """Trains AGAVE once for each y; writes the table and the pictures, and returns the rows.

    Args:
      config: AGAVE's config.
      auxiliaries: from `settings`.
      output: the output folder.
    """
    test = load_split(config.data, "test")
    configs = {
        name: sweep.with_fields(
            config, {f"model.auxiliary.{field}": value for field, value in auxiliary.items()}
        )
        for name, auxiliary in auxiliaries.items()
    }
    scores = program.train_all(configs, output)
    rows = [
        {
            "auxiliary_image": name,
            "levels": auxiliary["levels"] or test.levels,
            "side": test.image_shape[0] // auxiliary["downsampling"],
            "kl_weight": f"{config.model.kl_weight:g}",
            **{field: scores[name][field] for field in ("step", "num_images", "bits_per_dim")},
            "standard_error": scores[name]["standard_error"],
            **{field: scores[name][field] for field in ("kl", "autoregressive", "auxiliary")},
        }
        for name, auxiliary in auxiliaries.items()
    ]
    program.write_csv(f"{output}/bits_per_dim.csv", rows)
    program.picture_runs(list(configs), output, test.images, COLUMNS)
    return rows


def main(_: list[str]) -> None:
    """Reads the flags."""
    options = flags.FLAGS
    config = program.load_config("agave", options.variant, options.steps)
    with command_line.refusals():
        images = load_split(config.data, "test")
    table = chosen(settings(images.levels, images.image_shape[-1]), options.setting)
    if options.kl_weight is not None:
        config = sweep.with_fields(config, {"model.kl_weight": options.kl_weight})
    compare(config, table, options.output)


if __name__ == "__main__":
    program.define_flags("runs/agave-auxiliary")
    flags.DEFINE_float("kl_weight", None, "λ of Eq. 3.13; the config's by default.", lower_bound=0)
    flags.DEFINE_multi_string("setting", [], "A setting; repeatable. All by default.")
    program.run(main)
