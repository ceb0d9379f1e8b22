"""What a run is judged by: on validation while it trains, on test at its end, and on request."""

import json
import math
import sys
from typing import Any

import jax
import numpy as np
from absl import logging

from gm_jax.evaluation.likelihood import evaluate_likelihood, summarize
from gm_jax.evaluation.pictures import draw_reconstructions, draw_samples, side_by_side
from gm_jax.images import save_png, spread
from gm_jax.training.logging import MetricWriter
from gm_jax.training.run import Run
from gm_jax.training.workdir import write_atomically


def validate(run: Run, variables: dict[str, Any], step: int, writer: MetricWriter) -> float:
    """Scores validation, and draws samples and reconstructions into the work directory.

    Returns:
      Bits/dim on validation, by which the best checkpoint is chosen.
    """
    dataset = run.dataset("validation")
    scores = summarize(evaluate_likelihood(run, variables, dataset), dataset.image_shape)
    writer.scalars(step, {f"validation/{name}": value for name, value in scores.items()})
    pictures = {
        "samples": draw_samples(run, variables, run.config.sample.num_images),
        "reconstructions": draw_reconstructions(
            run, variables, dataset, run.config.evaluate.num_reconstructions
        ),
    }
    for name, rows in pictures.items():
        picture = side_by_side(rows, dataset.levels)
        if jax.process_index() == 0:
            save_png(run.workdir / name / f"step_{step:08d}.png", picture)
        writer.image(step, name, picture)
    return scores["bits_per_dim"]


def evaluate(run: Run) -> dict[str, Any]:
    """Scores the best checkpoint on the test split, prints it and writes it down.

    Writes `test.json`, and `test.npz` with the nats of every image.
    """
    variables, step = run.restore("best")
    dataset = run.dataset("test")
    terms = evaluate_likelihood(run, variables, dataset)
    exact = run.method.likelihood_is_exact
    result = {
        "source": dataset.name,
        "split": dataset.split,
        "num_images": len(dataset),
        "step": step,
        "likelihood": "exact" if exact else "lower bound, one sample",
        **summarize(terms, dataset.image_shape),
    }
    if jax.process_index() == 0:
        with (run.workdir / "test.npz").open("wb") as file:
            np.savez_compressed(file, **terms)
        write_atomically(run.workdir / "test.json", json.dumps(result, indent=2) + "\n")
        print(describe(result))
    return result


def describe(result: dict[str, Any]) -> str:
    """A table for people of what `evaluate` returns."""
    parts = {name: value for name, value in result.items() if isinstance(value, float)}
    bound = "=" if result["likelihood"] == "exact" else "≤"
    head = f"{result['source']}, {result['split']}: {result['num_images']} images, step"
    lines = [f"{head} {result['step']}, bits/dim ({result['likelihood']})"]
    lines.append(
        f"  {'bits/dim':<16} {bound} {parts.pop('bits_per_dim'):.4f}"
        f" ± {parts.pop('standard_error'):.4f}"
    )
    lines += [f"  {name:<16}   {value:.4f}" for name, value in parts.items()]
    if "auxiliary" in parts:
        lines.append("  (auxiliary is reported beside the bound, not part of it)")
    return "\n".join(lines)


def sample(run: Run) -> None:
    """Draws `sample.num_images` images from the best checkpoint: a grid, and a PNG each."""
    variables, step = run.restore("best")
    drawn = draw_samples(run, variables, run.config.sample.num_images)
    folder = run.workdir / "samples" / f"best_step_{step:08d}"
    if jax.process_index() == 0:
        digits = int(math.log10(max(1, run.config.sample.num_images - 1))) + 1
        for number, image in enumerate(spread(drawn["image"], run.train_data.levels)):
            save_png(folder / f"{number:0{digits}d}.png", image)
        picture = side_by_side(drawn, run.train_data.levels)
        save_png(folder.with_suffix(".png"), picture)
        print(f"{len(drawn['image'])} samples in {folder}, together in {folder}.png")


def reconstruct(run: Run) -> None:
    """Reconstructs the first test images from the best checkpoint, as a grid."""
    variables, step = run.restore("best")
    dataset = run.dataset("test")
    rows = draw_reconstructions(run, variables, dataset, run.config.evaluate.num_reconstructions)
    path = run.workdir / "reconstructions" / f"test_best_step_{step:08d}.png"
    if jax.process_index() == 0:
        save_png(path, side_by_side(rows, dataset.levels))
        print(f"test images, and below each what the model makes of it: {path}")


def finish(run: Run) -> None:
    """Ends a training: test likelihood and pictures of the best checkpoint, once."""
    path = run.workdir / "test.json"
    if path.exists():
        result = json.loads(path.read_text())
        if run.restore("best")[1] == result["step"]:
            logging.info("already scored: %s", path)
            print(describe(result), file=sys.stdout)
            return
    evaluate(run)
    reconstruct(run)
    sample(run)
