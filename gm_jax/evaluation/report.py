"""What a run is judged by: on validation while it trains, on test at its end, and on request.

What a method is judged by is what it offers (`capabilities`): its likelihood, or its `score`; its
samples and reconstructions are pictured.
"""

import json
import math
from typing import Any

import jax
import numpy as np
from etils import epath

from gm_jax import data
from gm_jax.data.fields import main_field
from gm_jax.evaluation.likelihood import (
    check_num_samples,
    judge_likelihood,
    kind_of_likelihood,
    score_images,
    unit_of,
)
from gm_jax.evaluation.pictures import (
    class_labels,
    draw_reconstructions,
    draw_samples,
    pictured,
)
from gm_jax.images import save_png, save_pngs, spread
from gm_jax.training.logging import MetricWriter
from gm_jax.training.run import Run
from gm_jax.training.workdir import strict_json, write_atomically, write_npz

# Variables of `state.evaluation_variables`, and their step.
Restored = tuple[dict[str, Any], int]


def validate(run: Run, variables: dict[str, Any], step: int, writer: MetricWriter) -> float:
    """Scores validation, and draws samples and reconstructions into the work directory.

    Returns:
      Bits/dim on validation (or the method's `validation_score`), by which the best checkpoint is
      chosen. For a method that has neither, minus the step: its best is its latest.
    """
    dataset = run.dataset("validation")
    _, scores, choice = score_split(run, variables, dataset)
    if scores:
        writer.scalars(step, {f"validation/{name}": value for name, value in scores.items()})
    pictures = {}
    if "sample" in run.method.capabilities:
        options = run.config.sample
        pictures["samples"] = draw_samples(run, variables, options.num_images, options.temperature)
    if "reconstruct" in run.method.capabilities:
        pictures["reconstructions"] = _reconstructions(run, variables, dataset)
    for name, rows in pictures.items():
        picture = pictured(rows, dataset)
        if jax.process_index() == 0:
            save_png(run.workdir / name / f"step_{step:08d}.png", picture)
        writer.image(step, name, picture)
    return scores[choice] if choice else -float(step)


def score_split(
    run: Run, variables: dict[str, Any], dataset: data.Dataset
) -> tuple[dict[str, np.ndarray], dict[str, float], str | None]:
    """Scores every image of a split by what the method offers.

    Returns:
      {term: [N]} by image; {name: value} of the split; and the name among them that chooses the
      best checkpoint, the method's `validation_score`; None judges the latest.
    """
    method = run.method
    terms: dict[str, np.ndarray] = {}
    scores: dict[str, float] = {}
    if "log_likelihood" in method.capabilities:
        terms, scores = judge_likelihood(run, variables, dataset)
    if "score" in method.capabilities:
        scored = score_images(run, "score", method.score, variables, dataset)
        terms |= scored
        scores |= {name: float(term.mean()) for name, term in scored.items()}
    return terms, scores, method.validation_score if scores else None


def evaluate(
    run: Run, restored: Restored | None = None, num_importance_samples: int = 1
) -> dict[str, Any]:
    """Scores the best checkpoint on the test split, prints it and writes it down.

    Writes `test.json`, and `test.npz` with the nats (or other scores) of every image.

    Args:
      run: the run.
      restored: (variables, step) of `run.restore`, read where not given.
      num_importance_samples: k; above 1 the bound of k samples stands beside that of one.

    Raises:
      ValueError: k samples of a method that has no bound to tighten.
    """
    if num_importance_samples != 1:
        check_num_samples(run.method, num_importance_samples)
    variables, step = restored or run.restore("best")
    dataset = run.dataset("test")
    terms, scores, _ = score_split(run, variables, dataset)
    result = {
        "source": dataset.name,
        "split": dataset.split,
        "num_images": dataset.lengths[""],
        "step": step,
    }
    if run.method.likelihood is not None:
        result["likelihood"] = kind_of_likelihood(run.method)
    result |= scores
    if num_importance_samples > 1:
        weighted, summary = judge_likelihood(run, variables, dataset, num_importance_samples)
        terms["importance_weighted"] = weighted["log_likelihood"]
        result["num_importance_samples"] = num_importance_samples
        result["importance_weighted"] = summary[unit_of(dataset.fields)]
        result["importance_weighted_standard_error"] = summary["standard_error"]
    if jax.process_index() == 0:
        write_npz(run.workdir / "test.npz", terms)
        write_atomically(run.workdir / "test.json", strict_json(result, indent=2) + "\n")
        print(describe(result))
    return result


def describe(result: dict[str, Any]) -> str:
    """A table for people of what `evaluate` returns; null, of `test.json`, was not finite."""
    result = {name: math.nan if value is None else value for name, value in result.items()}
    parts = {name: value for name, value in result.items() if isinstance(value, float)}
    if "likelihood" not in result:
        head = f"{result['source']}, {result['split']}: {result['num_images']} images, step"
        lines = [f"  {name:<16}   {value:.4f}" for name, value in parts.items()]
        return "\n".join([f"{head} {result['step']}", *lines])
    kind = result["likelihood"]
    bound, bracketed = {"exact": "=", "estimate": "≈"}.get(kind, "≤"), kind.startswith("[")

    def number(value: str, error: str) -> str:
        text = f"{parts.pop(value):.4f} ± {parts.pop(error):.4f}"
        return f"{bound} [{text}]" if bracketed else f"{bound} {text}"

    name = "bits_per_dim" if "bits_per_dim" in parts else "nats"
    unit = {"bits_per_dim": "bits/dim", "nats": "nats"}[name]
    head = f"{result['source']}, {result['split']}: {result['num_images']} images, step"
    lines = [f"{head} {result['step']}, {unit} ({kind.strip('[]')})"]
    lines.append(f"  {unit:<16} {number(name, 'standard_error')}")
    if "importance_weighted" in parts:
        tightened = number("importance_weighted", "importance_weighted_standard_error")
        lines.append(f"  {result['num_importance_samples']} samples".ljust(18) + f" {tightened}")
    lines += [f"  {name:<16}   {value:.4f}" for name, value in parts.items()]
    if "auxiliary" in parts:
        lines.append("  (auxiliary is reported beside the bound, not part of it)")
    if bracketed:
        lines.append("  ([...]: of a density that was added to a model without one)")
    return "\n".join(lines)


def sample(run: Run, restored: Restored | None = None) -> None:
    """Draws `sample.num_images` images from the best checkpoint at `sample.temperature`.

    Writes into `samples` an npz of all arrays (and the names of their classes, for methods that
    take classes), a picture of the first, and of images a PNG each, in a folder made anew.
    """
    _refuse_without(run, "sample")
    variables, step = restored or run.restore("best")
    options, spec = run.config.sample, run.train_data.fields
    labels = class_labels(run, options.num_images)
    drawn = draw_samples(run, variables, options.num_images, options.temperature, labels)
    path = _picture(run, "sample", step)
    folder = path.parent / path.stem
    if jax.process_index() == 0:
        arrays, where = path.with_suffix(".npz"), ""
        stored: dict[str, Any] = {**drawn}
        if "image" in spec:
            levels = spec["image"].levels
            assert levels is not None  # images have levels
            stored["levels"] = levels  # data.source=npz:… can read it
            where = f"{folder} and "
            save_pngs(folder, spread(drawn["image"], levels))
        if labels is not None:
            classes = spec["label"].classes
            stored["label"] = labels if classes is None else np.array(classes)[labels]
        write_npz(arrays, stored)
        save_png(path, pictured(drawn, run.train_data))
        print(f"{options.num_images} samples in {where}{arrays}, pictured in {path}")


def reconstruct(run: Run, restored: Restored | None = None) -> None:
    """Reconstructs the first test images from the best checkpoint, as a grid."""
    _refuse_without(run, "reconstruct")
    variables, step = restored or run.restore("best")
    dataset = run.dataset("test")
    rows = _reconstructions(run, variables, dataset)
    path = _picture(run, "reconstruct", step)
    if jax.process_index() == 0:
        save_png(path, pictured(rows, dataset))
        print(f"test images, and below each what the model makes of it: {path}")


def _reconstructions(
    run: Run, variables: dict[str, Any], dataset: data.Dataset
) -> dict[str, np.ndarray]:
    """The first images of a split as `original`, and below each what the model makes of it."""
    options = run.config.evaluate
    first = dataset.first(options.num_reconstructions)
    drawn = draw_reconstructions(run, variables, first, options.reconstruction_draws)
    return {"original": np.asarray(first.arrays[main_field(first.fields)]), **drawn}


def finish(run: Run) -> None:
    """Ends a training: pictures and test scores of the best checkpoint, each made once."""
    step = run.best_step()
    assert step is not None  # a training ends with a checkpoint
    restored = None
    for name, make in (("reconstruct", reconstruct), ("sample", sample)):
        if name in run.method.capabilities and not _picture(run, name, step).exists():
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
    name = f"best_step_{step:08d}"
    if mode == "reconstruct":
        return run.workdir / "reconstructions" / f"{name}.png"
    temperature = run.config.sample.temperature
    other = "" if temperature == 1 else f"_temperature_{temperature}"
    return run.workdir / "samples" / f"{name}{other}.png"


def _refuse_without(run: Run, function: str) -> None:
    if function not in run.method.capabilities:
        raise ValueError(
            f"--mode={function}: the method '{run.config.method}' has no such function; it can be "
            "trained and evaluated"
        )
