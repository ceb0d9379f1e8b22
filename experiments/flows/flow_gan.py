"""A flow trained by likelihood, an adversary, and both: bits/dim against samples (Flow-GAN).

    python experiments/flows/flow_gan.py [--mode=hybrid …] [--variant=digits] [--seeds=0,1,2]
        [--steps=N] [--num_samples=2000] [--paper] [--output=DIR]

It trains the modes of `configs/flow_gan.py` from the same seeds, with as many updates of the flow
(Grover et al., 2018, Tables 1 and 2). In the output folder lie then the runs and

- `modes.csv`, a row a mode: test bits/dim; the Fréchet distance of the samples' pixels to those of
  the training images; precision (F_1/8) and recall (F_8) of the samples' pixels; and, in the pair
  of runs of a seed, what the mode costs in bits/dim and gains in distance over likelihood alone.
  Each is the mean over the seeds with its standard error. The row `test images` judges these,
  which are fewer, so that their distance is larger than that of as many images as samples;
- `samples.png`, a row a mode, of the first seed.

By default it takes about 20 minutes of a core.
`--paper` is CIFAR-10 (not run here), where Inception should judge (`--mode=evaluate`). Finished
runs are not trained again.
"""

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from etils import epath
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import load, sweep
from gm_jax.evaluation.frechet_distance import feature_statistics, frechet_distance
from gm_jax.evaluation.precision_recall import f_beta, precision_recall_distribution
from gm_jax.training.run import load_split

FIRST = "likelihood"  # what the others are compared with
MODES = (FIRST, "hybrid", "adversarial")
Numbers = dict[str, float]


def configs_of(
    modes: Sequence[str], seeds: Sequence[int], variant: str, steps: int | None
) -> dict[str, ConfigDict]:
    """{run name: config} of every mode and seed."""
    configs = {}
    for mode in modes:
        config = program.load_config("flow_gan", f"{mode},{variant}", steps)
        for seed in seeds:
            configs[f"{mode}-seed_{seed}"] = sweep.with_fields(config, {"seed": seed})
    return configs


def judge(samples: np.ndarray, images: np.ndarray, levels: int) -> Numbers:
    """`distance`, `precision` and `recall` of samples by images, uint8 [N, H, W, C]."""
    drawn, real = (
        np.float32(each).reshape(len(each), -1) / (levels - 1) for each in (samples, images)
    )
    distance = frechet_distance(*feature_statistics(drawn), *feature_statistics(real))
    count = min(len(drawn), len(real))  # the curve is biased unless both are equally many
    curve = precision_recall_distribution(drawn[:count], real[:count], seed=0)
    return {"distance": distance, "precision": f_beta(*curve, 1 / 8), "recall": f_beta(*curve, 8)}


def rows_of(modes: Sequence[str], judged: Mapping[str, Sequence[Numbers]]) -> list[dict[str, Any]]:
    """The table's rows, from {mode: the numbers of each seed}, which has FIRST."""
    rows = []
    for mode in modes:
        row: dict[str, Any] = {"mode": mode, "seeds": len(judged[mode])}
        for name in judged[mode][0]:
            row |= program.mean_and_error(name, [numbers[name] for numbers in judged[mode]])
        pairs = list(zip(judged[mode], judged[FIRST], strict=True))
        cost = [ours["bits_per_dim"] - alone["bits_per_dim"] for ours, alone in pairs]
        gain = [alone["distance"] - ours["distance"] for ours, alone in pairs]
        row |= program.mean_and_error("cost", cost) | program.mean_and_error("gain", gain)
        rows.append(row)
    return rows


def main(_: list[str]) -> None:
    """Trains what is missing, and writes the table and the picture."""
    options = flags.FLAGS
    folder, seeds = epath.Path(options.output), options.seeds
    variant = "cifar10" if options.paper else options.variant
    modes = list(dict.fromkeys([FIRST, *options.mode]))
    configs = configs_of(modes, seeds, variant, options.steps)
    scores = program.train_all(configs, folder)
    section = next(iter(configs.values())).data
    images, test = (load_split(section, split) for split in ("train", "test"))
    judged: dict[str, list[Numbers]] = {mode: [] for mode in modes}
    pictures = {}
    for mode, seed in itertools.product(modes, seeds):
        name = f"{mode}-seed_{seed}"
        samples = load.load(folder / name).sample(options.num_samples)["image"]
        found = judge(samples, images.images, images.levels)
        judged[mode].append({"bits_per_dim": scores[name]["bits_per_dim"], **found})
        pictures.setdefault(mode, samples[:16])
    floor = judge(test.images, images.images, images.levels)
    rows = [*rows_of(modes, judged), {"mode": "test images", **floor}]
    program.write_csv(folder / "modes.csv", rows)
    program.save_rows(folder / "samples.png", pictures, images.levels)


if __name__ == "__main__":
    program.define_flags("runs/flows-flow_gan")
    flags.DEFINE_multi_enum("mode", MODES, MODES, "Modes; repeatable. Likelihood is always there.")
    program.define_seeds("0,1,2", "A run of each mode for each.")
    flags.DEFINE_integer("num_samples", 2_000, "Samples that are judged.", lower_bound=16)
    flags.DEFINE_bool("paper", False, "CIFAR-10.")
    program.run(main)
