"""What a run is judged by: on validation while it trains, on test at its end, and on request.

What a method is judged by is what it offers (`capabilities`): its likelihood, or its `score`; its
samples, reconstructions and translations are pictured.
"""

import math
from typing import Any

import jax
import numpy as np

from gm_jax import data
from gm_jax.evaluation.drawing import (
    Restored,
    picture_path,
    reconstruct,
    reconstructions,
    sample,
    translations,
)
from gm_jax.evaluation.likelihood import (
    check_num_samples,
    judge_likelihood,
    kind_of_likelihood,
    score_images,
    unit_of,
)
from gm_jax.evaluation.pictures import draw_samples, pictured
from gm_jax.evaluation.translation import judge_translations, picture_of_both
from gm_jax.images import save_png
from gm_jax.training import recalibration
from gm_jax.training.logging import MetricWriter
from gm_jax.training.run import Run
from gm_jax.training.workdir import dumps, read_json, write_atomically, write_npz


def validate(run: Run, variables: dict[str, Any], step: int, writer: MetricWriter) -> float:
    """Scores validation, and pictures what the method draws into the work directory.

    Batch norms have the running averages of training here: to estimate their moments anew would
    take the passes of `evaluate.recalibration_batches` training batches at each validation. So
    these pictures differ from those that `finish` draws of the same step.

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
        drawn = draw_samples(run, variables, options.num_images, options.temperature)
        pictures["samples"] = pictured(drawn, dataset)
    if "reconstruct" in run.method.capabilities:
        pictures["reconstructions"] = pictured(reconstructions(run, variables, dataset), dataset)
    if "translate" in run.method.capabilities:
        pictures["translations"] = picture_of_both(run, variables, dataset)
    for name, picture in pictures.items():
        if jax.process_index() == 0:
            save_png(run.workdir / name / f"step_{step:08d}.png", picture)
        writer.image(step, name, picture)
    return scores[choice] if choice else -float(step)


def score_split(
    run: Run, variables: dict[str, Any], dataset: data.Dataset
) -> tuple[dict[str, np.ndarray], dict[str, float], str | None]:
    """Scores every image of a split by what the method offers.

    Returns:
      {term: [N]} by image, those of a domain by its images; {name: value} of the split; and the
      name among them that chooses the best checkpoint, the method's `validation_score`; None judges
      the latest.
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
    if "translate" in method.capabilities:
        of_translations, means = judge_translations(run, variables, dataset)
        terms |= of_translations
        scores |= means
    return terms, scores, method.validation_score if scores else None


def evaluate(
    run: Run, restored: Restored | None = None, num_importance_samples: int = 1
) -> dict[str, Any]:
    """`score_test`, written down: `test.json`, and `test.npz` with the scores of every image."""
    terms, result = score_test(run, restored, num_importance_samples)
    write_test(run, terms, result)
    return result


def write_test(run: Run, terms: dict[str, np.ndarray], result: dict[str, Any]) -> None:
    """Writes what `score_test` found."""
    if jax.process_index() == 0:
        write_npz(run.output / "test.npz", terms)
        write_atomically(run.output / "test.json", dumps(result, indent=2) + "\n")


def score_test(
    run: Run, restored: Restored | None = None, num_importance_samples: int = 1
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Scores the best checkpoint on the test split, and prints it.

    Args:
      run: the run.
      restored: (variables, step) of `run.restore`, read where not given.
      num_importance_samples: k; above 1 the bound of k samples stands beside that of one.

    Returns:
      {term: [N]}, the nats (or other scores) of every image; and what the split gives.

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
    if "recalibration_batches" in run.config.evaluate:
        result["recalibration_batches"] = recalibration.batches_of(run)
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
        print(describe(result), flush=True)
    return terms, result


def describe(result: dict[str, Any]) -> str:
    """A table for people of what `evaluate` returns."""
    # Numbers that are not finite are null in test.json.
    known = {name: math.nan if value is None else value for name, value in result.items()}
    numbers = {name: value for name, value in known.items() if isinstance(value, float)}
    head = f"{result['source']}, {result['split']}: {result['num_images']} images, step"
    lines = [f"{head} {result['step']}"]
    if result.get("recalibration_batches"):
        lines[0] += f", batch norms of {result['recalibration_batches']} training batches"
    kind: str = result.get("likelihood", "")
    shown = {"recalibration_batches"}  # None without batch norms
    bracketed = kind.startswith("[")

    def bound(name: str, error: str) -> str:
        shown.update({name, error})
        text = f"{numbers[name]:.4f} ± {numbers[error]:.4f}"
        sign = {"exact": "=", "estimate": "≈"}.get(kind, "≤")
        return f"{sign} [{text}]" if bracketed else f"{sign} {text}"

    if kind:
        name, unit = ("bits_per_dim", "bits/dim") if "bits_per_dim" in result else ("nats", "nats")
        lines[0] += f", {unit} ({kind.strip('[]')})"
        lines.append(f"  {unit:<16} {bound(name, 'standard_error')}")
    if "importance_weighted" in numbers:
        tightened = bound("importance_weighted", "importance_weighted_standard_error")
        lines.append(f"  {result['num_importance_samples']} samples".ljust(18) + f" {tightened}")
    lines += [f"  {name:<16}   {value:.4f}" for name, value in numbers.items() if name not in shown]
    if kind and "auxiliary" in numbers:
        lines.append("  (auxiliary is reported beside the bound, not part of it)")
    if bracketed:
        lines.append("  ([...]: of a density that was added to a model without one)")
    return "\n".join(lines)


def finish(run: Run) -> None:
    """Ends a training: pictures and test scores of the best checkpoint, each made once."""
    step = run.best_step()
    assert step is not None  # a training ends with a checkpoint
    path = run.output / "test.json"
    result = read_json(path) if path.exists() else {}
    restored = draw_missing(run, step)
    if result.get("step") == step and recalibration.fits(result, run.config):
        if jax.process_index() == 0:
            print(describe(result))
        return
    evaluate(run, restored)


def draw_missing(run: Run, step: int, restored: Restored | None = None) -> Restored | None:
    """Draws those pictures of the best checkpoint that do not exist.

    Args:
      run: the run.
      step: the checkpoint's step.
      restored: (variables, step) of `run.restore`, read where they are needed and not given.

    Returns:
      The same, if they are known now.
    """
    makers = {"reconstruct": reconstruct, "sample": sample, "translate": translations}
    for name, make in makers.items():
        if name in run.method.capabilities and not picture_path(run, name, step).exists():
            restored = restored or run.restore("best")
            make(run, restored)
    return restored
