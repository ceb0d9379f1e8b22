"""AGAVE whose auxiliary loss is dropped after convergence (thesis 3.4.4, fig. 3.7).

    python experiments/agave/drop_auxiliary.py [--kl_weight=λ] [--variant=cifar10] [--steps=N]
        [--drop_steps=M] [--num_samples=64] [--output=DIR]

It trains for N steps on Eq. 3.13 in `DIR/before`, copies that run to `DIR/after` and trains it for
M more steps on Eq. 3.6: KL weight 1 without free bits, no auxiliary term. It writes into the output
folder

- `kl.csv`, a row per logged step: KL, auxiliary and PixelCNN terms in nats per image (training
  batch);
- `dependence.csv`, before and after: KL in nats and bits/dim on the test images; and, on samples
  of the model, the information in nats between f(z) and the image: two bounds on I(x; f(z)) and the
  gap in ln p(x | f(z)) between the f(z) that x was drawn from and another
  (`gm_jax.evaluation.latent_information`);
- `reconstructions.png`: test images, their f(z) and PixelCNN samples, before and after;
- `samples.png`: f(z) from the prior, with the same z before and after, and four samples given each.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import command_line, sweep
from gm_jax.evaluation.latent_information import draw_images, draw_latents, latent_information
from gm_jax.evaluation.likelihood import evaluate_likelihood, summarize
from gm_jax.evaluation.pictures import draw_reconstructions
from gm_jax.training.run import Run, load_split, open_trained

COLUMNS, DRAWS = 10, 4  # columns of the pictures, and samples given one f(z)
CURVE = ("kl", "auxiliary", "autoregressive", "bits_per_dim")
# The parameter average must forget the parameters before the drop, so it spans a hundred steps.
EMA_DECAY = 0.99


def compare(
    config: ConfigDict, drop_steps: int, num_samples: int, output: str
) -> list[dict[str, Any]]:
    """Trains with the auxiliary loss, then without; writes tables and pictures.

    Returns:
      The rows of `dependence.csv`.
    """
    steps, folder = config.train.steps, Path(output).absolute()
    before = sweep.with_fields(
        config,
        {
            "model.auxiliary_until_step": steps,
            "model.ema_decay": EMA_DECAY,
        },
    )
    after = sweep.with_fields(before, {"train.steps": steps + drop_steps})
    with command_line.refusals():
        sweep.is_finished(after, folder / "after")  # refuses a run with another config at once
    program.train_all({"before": before}, folder)
    if not (folder / "after").exists():
        shutil.copytree(folder / "before", folder / ".after", dirs_exist_ok=True)
        (folder / ".after").rename(folder / "after")
    program.train(after, folder / "after")
    program.write_csv(folder / "kl.csv", curve(folder / "after" / "metrics.jsonl"))
    runs = {when: open_trained(folder / when) for when in ("before", "after")}
    rows = [dependence(run, when, num_samples) for when, run in runs.items()]
    program.write_csv(folder / "dependence.csv", rows)
    picture(runs, folder)
    return rows


def curve(metrics: Path) -> list[dict[str, Any]]:
    """The training terms of every logged step, in nats per image (bits/dim in bits/dim)."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [
        {"step": line["step"], **{name: line[name] for name in CURVE}}
        for line in lines
        if "kl" in line
    ]


def dependence(run: Run, when: str, num_samples: int) -> dict[str, Any]:
    """Test scores of a run's latest checkpoint, and how much its samples depend on f(z)."""
    variables, step = run.restore("latest")
    test = load_split(run.config.data, "test")
    terms = evaluate_likelihood(run, variables, test)
    scores = summarize(terms, test.fields)
    information = latent_information(run, variables, num_samples)
    return {
        "when": when,
        "step": step,
        "num_images": len(test),
        "bits_per_dim": scores["bits_per_dim"],
        "kl": scores["kl"],
        "autoregressive": scores["autoregressive"],
        "kl_nats": float(terms["kl"].mean()),
        "num_samples": num_samples,
        "information_lower_nats": information["lower"],
        "information_upper_nats": information["upper"],
        "shuffled_f_z_nats": information["shuffled"],
    }


def picture(runs: dict[str, Run], folder: Path) -> None:
    """Draws reconstructions, and several samples given one f(z), before and after."""
    reconstructions, samples = {}, {}
    for when, run in runs.items():
        variables, _ = run.restore("latest")
        first = load_split(run.config.data, "test").first(COLUMNS)
        drawn = draw_reconstructions(run, variables, first, 1)
        reconstructions["test images"] = np.asarray(first.images)
        reconstructions |= {f"{name} {when}": drawn[name] for name in ("f_z", "image")}
        latents = draw_latents(run, variables, COLUMNS)
        several = [draw_images(run, variables, latents, seed) for seed in range(DRAWS)]
        samples[f"f_z {when}"] = several[0]["f_z"]
        samples |= {f"draw {k + 1} {when}": one["image"] for k, one in enumerate(several)}
    levels = runs["after"].train_data.levels
    program.save_rows(folder / "reconstructions.png", reconstructions, levels)
    program.save_rows(folder / "samples.png", samples, levels)


def main(_: list[str]) -> None:
    """Reads the flags."""
    options = flags.FLAGS
    config = program.load_config("agave", options.variant, options.steps)
    if options.kl_weight is not None:
        config = sweep.with_fields(config, {"model.kl_weight": options.kl_weight})
    drop_steps = options.drop_steps or config.train.steps
    compare(config, drop_steps, options.num_samples, options.output)


if __name__ == "__main__":
    program.define_flags("runs/agave-drop_auxiliary")
    flags.DEFINE_float("kl_weight", None, "λ of Eq. 3.13; the config's by default.", lower_bound=0)
    flags.DEFINE_integer(
        "drop_steps", None, "Steps without auxiliary loss; as many as with it by default.", 1
    )
    flags.DEFINE_integer("num_samples", 64, "Samples of the model to measure dependence.", 2)
    program.run(main)
