"""The parts of `experiments/accelerator_report.py`, in order of worth; append new ones to PARTS.

A part runs in a process of its own and prints its numbers, one JSON object a line. A function is
called with what is `Given` and yields those objects; a command prints them itself. Objects with
the same `row` are one row of the part's table, so that a part that is ended leaves what it had.
An object with `curve` and `points`, {name: [[step, value]]}, is drawn.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.accelerator import runs, speeds

NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


class Part(NamedTuple):
    """table: title of its table; run: a function of Given, or a command; seconds: its limit."""

    table: str
    run: Callable[["Given"], Iterable[Mapping[str, Any]]] | tuple[str, ...]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Given:
    """What a part is given.

    Attributes:
      source: a config's `data.source`.
      scratch: folder for runs, which later parts may read.
      seconds: the part's limit, from its start.
      tiny: whether to take the smallest networks, to try the part on CPU.
    """

    source: str
    scratch: Path
    seconds: float
    tiny: bool

    def config(self, page: str, fields: Mapping[str, Any] = NO_FIELDS) -> Any:
        """The config of a page FILE:VARIANT on these images, with some fields replaced."""
        from experiments import program
        from gm_jax import sweep

        fields = {**fields, "data.source": self.source}
        if self.tiny:
            file, _, variant = page.partition(":")
            models, comma, _ = variant.rpartition(",")
            page = f"{file}:{models}{comma}smoke"
            if "data.batch_size" in fields:
                fields["data.batch_size"] //= 8
        return sweep.with_fields(program.load_page(page), fields)

    def open(self, page: str, fields: Mapping[str, Any] = NO_FIELDS) -> Any:
        """The run of that config; its work directory is not made."""
        from gm_jax.training.run import open_run

        return open_run(self.config(page, fields), self.scratch / "none")


STEPS = "Train steps"
TORCH = "PixelCNN++ in PyTorch"
RUNS = "Trainings"
PARTS = {
    "device": Part("Device", speeds.device, 40),
    "data": Part("Data", speeds.data, 90),
    "step_agave": Part(STEPS, speeds.Step("agave.py:cifar10"), 100),
    "step_pixelcnn": Part(STEPS, speeds.Step("pixelcnn.py:cifar10"), 75),
    "step_av_ade": Part(STEPS, speeds.Step("adaptive_density.py:av_ade,cifar10"), 60),
    "step_agave_small": Part(STEPS, speeds.Step("agave.py:cifar10_small"), 60),
    "torch_eager": Part(TORCH, speeds.TorchStep(compiled=False), 40),
    "torch_compiled": Part(TORCH, speeds.TorchStep(compiled=True), 75),
    "sampling": Part("Sampling", speeds.sampling, 75),
    "train_agave_small": Part(RUNS, runs.Training("agave.py:cifar10_small"), 150),
    # If time is left.
    "step_float32": Part(STEPS, speeds.Step("agave.py:cifar10_small", "float32"), 60),
    "step_tf32": Part(STEPS, speeds.Step("agave.py:cifar10_small", "tf32"), 60),
    "step_batch_256": Part(STEPS, speeds.Step("agave.py:cifar10_small", batch_size=256), 60),
    "train_av_ade": Part(RUNS, runs.Training("adaptive_density.py:av_ade,cifar10", 60), 120),
    "fd_c": Part("FD-C of train_av_ade", runs.fd_c, 120),
    "pipeline": Part("Pipeline", speeds.pipeline, 40),
    "deterministic": Part("The same run twice", runs.deterministic, 90),
    "modes": Part("Ways to run on one device", runs.modes, 90),
    "step_m_bgan": Part(STEPS, speeds.Step("mixed_batch_gan.py:m_bgan,cifar10"), 60),
    "step_alpha_gan": Part(STEPS, speeds.Step("alpha_gan.py:alpha_gan,cifar10"), 60),
    "step_glow": Part(STEPS, speeds.Step("flow.py:glow,cifar10"), 90),
}


def main(arguments: list[str]) -> None:
    """Runs a part that is a function; `experiments/accelerator_report.py` calls it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("part", choices=[n for n, part in PARTS.items() if callable(part.run)])
    parser.add_argument("--source", required=True)
    parser.add_argument("--scratch", required=True, type=Path)
    parser.add_argument("--seconds", required=True, type=float)
    parser.add_argument("--tiny", action="store_true")
    options = vars(parser.parse_args(arguments))
    for found in PARTS[options.pop("part")].run(Given(**options)):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
