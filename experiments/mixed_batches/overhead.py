"""What a symmetric discriminator costs in a train step (the thesis, 4.1: "negligible").

    python experiments/mixed_batches/overhead.py [--data=digits --data=ring …] [--rounds=8]
        [--output=DIR]

The steps of models of `configs/mixed_batch_gan.py` are timed in turn, A B C A B C …, on the same
machine and data: the GAN, the GAN on mixed batches with a pointwise discriminator, and `bgan`.
`overhead.csv` has, for each data set, the ratios to the GAN, and to the pointwise discriminator, of
time (the median over rounds, and the range) and of floating-point operations. The GAN's
discriminator sees twice as many examples; what symmetry alone costs is the ratio to the pointwise.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import measuring, program
from gm_jax import command_line, sweep
from gm_jax.training.progress import working
from gm_jax.training.run import open_run

POINTWISE = {"model.symmetric": False}
# {row: (model of the page, fields that are set)}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gan": ("gan", {}),
    "pointwise": ("bgan", POINTWISE),
    "bgan": ("bgan", {}),
}
STEPS = 10  # in a row, per round


class Timed:
    """A model's compiled step, with the state that it has reached."""

    def __init__(self, model: str, fields: dict[str, Any], data: str, workdir: Path):
        page = program.load_page(f"mixed_batch_gan.py:{model},{data}")
        with command_line.refusals():
            run = open_run(sweep.with_fields(page, fields), workdir)
        self.key, self.batch = run.keys["train"], measuring.first_batch(run)
        self.state = run.initial_state()
        self.step, self.flops, _ = measuring.compile_step(run, self.state, self.batch)
        self.seconds()  # the first steps are slower

    def seconds(self) -> float:
        """The seconds of a step, among several that are awaited together."""
        self.state, seconds = measuring.step_seconds(
            self.step, self.state, self.batch, self.key, STEPS
        )
        return float(np.median(seconds))


def ratios(data: str, rounds: int, workdir: Path) -> list[dict[str, Any]]:
    """A row for each model: its time and operations in those of the GAN, and of the pointwise."""
    with working(f"timing steps on {data}"):
        models = {row: Timed(*model, data, workdir) for row, model in MODELS.items()}
        seconds = [{row: model.seconds() for row, model in models.items()} for _ in range(rounds)]
    rows = []
    for row, model in models.items():
        found: dict[str, Any] = {"data": data, "model": row}
        for suffix, other in (("", "gan"), ("_to_pointwise", "pointwise")):
            found |= ratio(f"time{suffix}", [each[row] / each[other] for each in seconds])
            found[f"operations{suffix}"] = model.flops / models[other].flops
        rows.append(found)
    return rows


def ratio(name: str, rounds: Sequence[float]) -> dict[str, float]:
    """The median over rounds, and the range."""
    return {
        name: float(np.median(rounds)),
        f"{name}_least": min(rounds),
        f"{name}_most": max(rounds),
    }


def main(_: list[str]) -> None:
    """Times all, and writes the table."""
    options = flags.FLAGS
    folder = Path(options.output)
    rows = [row for data in options.data for row in ratios(data, options.rounds, folder)]
    program.write_csv(folder / "overhead.csv", rows)


if __name__ == "__main__":
    flags.DEFINE_multi_string("data", ["digits", "ring"], "DATA of the page; repeatable.")
    flags.DEFINE_integer("rounds", 8, "Rounds of all models.", lower_bound=1)
    flags.DEFINE_string("output", "runs/mixed_batches-overhead", "Folder for the table.")
    program.run(main)
