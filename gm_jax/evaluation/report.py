"""What a run is judged by: on validation while it trains, on test at its end, and on request.

A method offers what it can. One without `log_likelihood` may have a `score` (variables, batch, rng)
-> {term: [B]} and name the term, lower being better, by which its best checkpoint is chosen
(`validation_score`); one without `sample` or `reconstruct` has no such pictures.
"""

import json
from typing import Any

import jax
import numpy as np
from etils import epath

from gm_jax import data
from gm_jax.evaluation.likelihood import evaluate_likelihood, score_images, summarize
from gm_jax.evaluation.pictures import draw_reconstructions, draw_samples, side_by_side
from gm_jax.images import save_png, spread
from gm_jax.training.logging import MetricWriter
from gm_jax.training.run import Run
from gm_jax.training.workdir import write_atomically

# Variables of `state.evaluation_variables`, and their step.
Restored = tuple[dict[str, Any], int]


def validate(run: Run, variables: dict[str, Any], step: int, writer: MetricWriter) -> float | None:
    """Scores validation, and draws samples and reconstructions into the work directory.

    Returns:
      Bits/dim on validation (or the method's `validation_score`), by which the best checkpoint is
      chosen; None for a method that has neither.
    """
    dataset = run.dataset("validation")
    _, scores, choice = score_split(run, variables, dataset)
    writer.scalars(step, {f"validation/{name}": value for name, value in scores.items()})
    pictures = {}
    if hasattr(run.method, "sample"):
        pictures["samples"] = draw_samples(run, variables, run.config.sample.num_images)
    if hasattr(run.method, "reconstruct"):
        pictures["reconstructions"] = draw_reconstructions(
            run, variables, dataset, run.config.evaluate.num_reconstructions
        )
    for name, rows in pictures.items():
        picture = side_by_side(rows, dataset.levels)
        if jax.process_index() == 0:
            save_png(run.workdir / name / f"step_{step:08d}.png", picture)
        writer.image(step, name, picture)
    return scores[choice] if choice else None


def score_split(
    run: Run, variables: dict[str, Any], dataset: data.ImageDataset
) -> tuple[dict[str, np.ndarray], dict[str, float], str | None]:
    """Scores every image of a split by what the method offers.

    Returns:
      {term: [N]} by image; {name: value} of the split; and the name among them that chooses the
      best checkpoint (None, with nothing scored, for a method that has no score).
    """
    if hasattr(run.method, "log_likelihood"):
        terms = evaluate_likelihood(run, variables, dataset)
        return terms, summarize(terms, dataset.image_shape), "bits_per_dim"
    if hasattr(run.method, "score"):
        terms = score_images(run, "score", variables, dataset)
        means = {name: float(term.mean()) for name, term in terms.items()}
        return terms, means, run.method.validation_score
    return {}, {}, None


def evaluate(run: Run, restored: Restored | None = None) -> dict[str, Any]:
    """Scores the best checkpoint on the test split, prints it and writes it down.

    Writes `test.json`, and `test.npz` with the nats (or other scores) of every image.

    Args:
      run: the run.
      restored: (variables, step) of `run.restore`, read where not given.
    """
    variables, step = restored or run.restore("best")
    dataset = run.dataset("test")
    terms, scores, _ = score_split(run, variables, dataset)
    result = {
        "source": dataset.name,
        "split": dataset.split,
        "num_images": len(dataset),
        "step": step,
    }
    if "bits_per_dim" in scores:
        exact = run.method.likelihood_is_exact
        result["likelihood"] = "exact" if exact else "lower bound, one sample"
    result |= scores
    if jax.process_index() == 0:
        with (run.workdir / "test.npz").open("wb") as file:
            np.savez_compressed(file, **terms)
        write_atomically(run.workdir / "test.json", json.dumps(result, indent=2) + "\n")
        print(describe(result))
    return result


def describe(result: dict[str, Any]) -> str:
    """A table for people of what `evaluate` returns."""
    parts = {name: value for name, value in result.items() if isinstance(value, float)}
    if "likelihood" not in result:
        head = f"{result['source']}, {result['split']}: {result['num_images']} images, step"
        lines = [f"  {name:<16}   {value:.4f}" for name, value in parts.items()]
        return "\n".join([f"{head} {result['step']}", *lines])
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


def sample(run: Run, restored: Restored | None = None) -> None:
    """Draws `sample.num_images` images from the best checkpoint: a grid, and a PNG each."""
    _refuse_without(run, "sample")
    variables, step = restored or run.restore("best")
    drawn = draw_samples(run, variables, run.config.sample.num_images)
    path = _picture(run, "sample", step)
    folder = path.parent / path.stem
    if jax.process_index() == 0:
        digits = len(str(run.config.sample.num_images - 1))
        for number, image in enumerate(spread(drawn["image"], run.train_data.levels)):
            save_png(folder / f"{number:0{digits}d}.png", image)
        picture = side_by_side(drawn, run.train_data.levels)
        save_png(path, picture)
        print(f"{len(drawn['image'])} samples in {folder}, together in {path}")


def reconstruct(run: Run, restored: Restored | None = None) -> None:
    """Reconstructs the first test images from the best checkpoint, as a grid."""
    _refuse_without(run, "reconstruct")
    variables, step = restored or run.restore("best")
    dataset = run.dataset("test")
    rows = draw_reconstructions(run, variables, dataset, run.config.evaluate.num_reconstructions)
    path = _picture(run, "reconstruct", step)
    if jax.process_index() == 0:
        save_png(path, side_by_side(rows, dataset.levels))
        print(f"test images, and below each what the model makes of it: {path}")


def finish(run: Run) -> None:
    """Ends a training: pictures and test scores of the best checkpoint, each made once."""
    step = run.best_step()
    restored = None
    for name, make in (("reconstruct", reconstruct), ("sample", sample)):
        if hasattr(run.method, name) and not _picture(run, name, step).exists():
            restored = restored or run.restore("best")
            make(run, restored)
    path = run.workdir / "test.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    if result.get("step") == step:
        if jax.process_index() == 0:
            print(describe(result))
        return
    evaluate(run, restored)


def _picture(run: Run, mode: str, step: int) -> epath.Path:
    """Where `--mode=sample` and `--mode=reconstruct` write their grid of the best checkpoint."""
    folder = {"sample": "samples", "reconstruct": "reconstructions"}[mode]
    return run.workdir / folder / f"best_step_{step:08d}.png"


def _refuse_without(run: Run, function: str) -> None:
    if not hasattr(run.method, function):
        raise ValueError(
            f"--mode={function}: the method '{run.config.method}' has no such function; it can be "
            "trained and evaluated"
        )
