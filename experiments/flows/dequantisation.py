"""What learned dequantisation gains in bits/dim (Ho et al., 2019, Table 3; thesis, 2.12.1).

    python experiments/flows/dequantisation.py [--flow=glow …] [--variant=digits] [--seeds=0,1,2]
        [--steps=N] [--paper] [--output=DIR]

It trains each flow of `configs/flow.py` with uniform and with learned dequantisation, for as many
updates, from the same seeds. In the output folder lie then the runs and `gain.csv`, a row a flow:
test bits/dim of both, and as `gain` their difference in the pair of runs of a seed, each as the
mean over the seeds with its standard error. Learned noise makes a flow larger and its steps slower.

By default it takes about a quarter of an hour of a core, a third of it to compile.
`--paper` is Flow++ on CIFAR-10 (not run here). Finished runs are not trained again.
"""

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from etils import epath
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import sweep

KINDS = ("uniform", "variational")


def configs_of(
    flows: Sequence[str], seeds: Sequence[int], variant: str, steps: int | None
) -> dict[str, ConfigDict]:
    """{run name: config} of every flow, dequantisation and seed."""
    configs = {}
    for flow, kind in itertools.product(flows, KINDS):
        config = program.load_config("flow", f"{flow}+{kind},{variant}", steps)
        for seed in seeds:
            configs[f"{flow}+{kind}-seed_{seed}"] = sweep.with_fields(config, {"seed": seed})
    return configs


def gains(
    flows: Sequence[str], seeds: Sequence[int], scores: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The table's rows, from what each run scored."""
    rows = []
    for flow in flows:
        bits = {
            kind: [scores[f"{flow}+{kind}-seed_{seed}"]["bits_per_dim"] for seed in seeds]
            for kind in KINDS
        }
        gain = [a - b for a, b in zip(*(bits[kind] for kind in KINDS), strict=True)]
        row: dict[str, Any] = {"flow": flow, "seeds": len(seeds)}
        for name, values in [*bits.items(), ("gain", gain)]:
            row |= program.mean_and_error(name, values)
        rows.append(row)
    return rows


def main(_: list[str]) -> None:
    """Trains what is missing and writes the table."""
    options = flags.FLAGS
    flows, variant = options.flow, options.variant
    if options.paper:
        flows, variant = ["flow_plus_plus"], "cifar10"
    configs = configs_of(flows, options.seeds, variant, options.steps)
    scores = program.train_all(configs, epath.Path(options.output))
    program.write_csv(f"{options.output}/gain.csv", gains(flows, options.seeds, scores))


if __name__ == "__main__":
    program.define_flags("runs/flows-dequantisation")
    flags.DEFINE_multi_string("flow", ["glow"], "Flows of configs/flow.py; repeatable.")
    program.define_seeds("0,1,2", "A pair of runs for each.")
    flags.DEFINE_bool("paper", False, "Flow++ on CIFAR-10.")
    program.run(main)
