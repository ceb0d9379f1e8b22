"""Trains one run of the sweep as `main.py` does, and keeps samples of its second half.

    python experiments/alpha_gan/train.py --config=configs/alpha_gan.py:MODEL,DATA --workdir=DIR
        [--num_samples=1000] [--config.FIELD=VALUE …]

The independent critic starts half-way through the training that it judges (α-GAN, section 5). It
is trained afterwards here, on `DIR/late/step_STEP.npz`, samples at each validation from half-way
on; those of the last step serve a training that goes on to more steps. Batch norms have the running
averages of training there. `sweep.py` calls this program.
"""

import sys
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import config_flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from gm_jax import command_line, cpu, session
from gm_jax.evaluation import report
from gm_jax.evaluation.pictures import draw_samples
from gm_jax.training.logging import MetricWriter
from gm_jax.training.run import Run
from gm_jax.training.workdir import write_npz

FOLDER = "late"


def is_late(step: int, steps: int) -> bool:
    """Whether a step is in the second half of a training of so many steps."""
    return steps <= 2 * step <= 2 * steps


def validate(run: Run, variables: dict[str, Any], step: int, writer: MetricWriter) -> float:
    """`report.validate`, which also keeps samples, from half-way on until the end."""
    score = report.validate(run, variables, step, writer)
    if is_late(step, run.config.train.steps):
        temperature = run.config.sample.temperature
        drawn = draw_samples(run, variables, flags.FLAGS.num_samples, temperature)
        if jax.process_index() == 0:
            write_npz(run.workdir / FOLDER / f"step_{step:08d}.npz", {"image": drawn["image"]})
    return score


def main(_: list[str]) -> None:
    """Reads the flags."""
    command_line.set_verbosity()
    cpu.keep_buffers()
    with command_line.refusals():
        session.train(flags.FLAGS["config"].value, flags.FLAGS.workdir, validate)


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "Config file, FILE.py[:VARIANT].")
    flags.DEFINE_string("workdir", None, "Work directory.")
    flags.DEFINE_integer("num_samples", 1_000, "Samples to keep at each validation.", 2)
    flags.mark_flags_as_required(["config", "workdir"])
    command_line.run(main)
