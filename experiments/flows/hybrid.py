"""The tutorial's table of hybrids: accuracy and bits/dim of three kinds of flows, by λ.

    python experiments/flows/hybrid.py [--data=digits] [--steps=1000] [--seeds=0,1,2]
        [--output=DIR]

It trains `configs/hybrid.py` for each flow and λ = 0, 1/D, 1, and writes table.csv: means over the
seeds with their standard errors, and as `image_error` the standard error of bits/dim over the test
images, whose estimates are noisy. Bits/dim of a residual flow are estimates, of the others
one-sample bounds; those of λ = 0 are not trained. On digits that takes about 19 minutes of a core.
The same command with --data=cifar10 has the published size and needs an accelerator.
"""

import itertools
import math
import sys
from pathlib import Path
from typing import Any

from absl import flags
from etils import epath

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from configs import hybrid
from experiments import program
from gm_jax import sweep

WEIGHTS = ["0", "1/D", "1"]
# {data: D}
SIZES = {"digits": 64, "smoke": 64, "fashion_mnist": 784, "cifar10": 3_072}


def configs_of(
    data: str, flow: str, weights: list[str], steps: int | None, seeds: list[int]
) -> dict[Any, Any]:
    """{(λ as text, seed): config} of a flow."""
    value_of = {"0": 0.0, "1/D": 1 / SIZES[data], "1": 1.0}
    config = program.load_config("hybrid", f"{flow},{data}", steps)
    every = config.train.evaluate_every_steps
    return {
        (weight, seed): sweep.with_fields(
            config,
            {
                "model.likelihood_weight": value_of[weight],
                "seed": seed,
                "train.evaluate_every_steps": min(every, config.train.steps),
            },
        )
        for weight, seed in itertools.product(weights, seeds)
    }


def row_of(flow: str, weight: str, scores: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of the table from the scores of some runs that differ in their seed."""
    squares = sum(score["standard_error"] ** 2 for score in scores)
    return {
        "flow": flow,
        "weight": weight,
        "seeds": len(scores),
        **program.mean_and_error("accuracy", [1 - score["error"] for score in scores]),
        **program.mean_and_error("bits_per_dim", [score["bits_per_dim"] for score in scores]),
        "image_error": math.sqrt(squares) / len(scores),
        "likelihood": scores[0]["likelihood"],
    }


def compare(options: Any) -> None:
    """Trains what is missing and writes the table; the options are the flags."""
    folder, rows = epath.Path(options.output), []
    for flow in options.flow:
        configs = configs_of(options.data, flow, options.weight, options.steps, options.seeds)
        names = {
            key: f"{options.data}-{flow}-{key[0].replace('/', '_')}-{key[1]}" for key in configs
        }
        results = program.train_all({names[key]: configs[key] for key in configs}, folder)
        for weight in options.weight:
            scores = [results[names[weight, seed]] for seed in options.seeds]
            rows.append(row_of(flow, weight, scores))
    program.write_csv(folder / "table.csv", rows)


if __name__ == "__main__":
    flags.DEFINE_enum("data", "digits", [*SIZES], "The config's DATA.")
    flags.DEFINE_multi_enum("flow", [*hybrid.MODELS], [*hybrid.MODELS], "Kinds; repeatable.")
    flags.DEFINE_multi_enum("weight", WEIGHTS, WEIGHTS, "λ; repeatable.")
    flags.DEFINE_integer("steps", None, "Steps of each training; the config's by default.", 1)
    program.define_seeds("0,1,2", "A training for each.")
    flags.DEFINE_string("output", "runs/flows-hybrid", "Folder for runs and the table.")
    program.run(lambda _: compare(flags.FLAGS))
