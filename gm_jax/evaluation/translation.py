"""Translations between the two domains of a pair: made, judged and pictured."""

import functools
from collections.abc import Sequence, Sized
from typing import Any

import numpy as np

from gm_jax import data
from gm_jax.data.fields import DIRECTIONS, Field, is_image, main_field, of_domain
from gm_jax.evaluation.batches import over_images
from gm_jax.evaluation.class_agreement import ClassAgreement, class_agreement
from gm_jax.evaluation.image_sets import subset
from gm_jax.evaluation.nearest_neighbours import nearest_labels, told_apart
from gm_jax.evaluation.pictures import MOST_IN_GRID, side_by_side
from gm_jax.evaluation.scatter import scatter_row
from gm_jax.images import spread
from gm_jax.nn.noise import keyed
from gm_jax.training.run import Run

Variables = dict[str, Any]
Row = tuple[Field, np.ndarray]
_MOST_REFERENCES = 2_000  # training examples that judge the class of a translation
_MOST_TOLD_APART = 1_000  # translations, and as many examples of the domain that they come to


def translate(
    run: Run, variables: Variables, examples: data.Dataset, direction: str
) -> dict[str, np.ndarray]:
    """Translates all examples of the domain that a direction starts from.

    Args:
      run: a run whose method translates.
      variables: from `state.evaluation_variables`.
      examples: from `Dataset.domain`, or in memory.
      direction: one of `fields.DIRECTIONS`.

    Returns:
      `image` (or `point`), `cycle` and `cycle_error` of `Method.translate`, [N, ...].
    """
    function = functools.partial(run.method.translate, direction=direction)
    program = run.program(f"translate {direction}", keyed(function))
    return over_images(
        examples,
        lambda batch: program(variables, batch, run.keys["evaluate"]),
        run.config.evaluate.batch_size,
        "translations",
    )


def judge_translations(
    run: Run, variables: Variables, dataset: data.Dataset
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Scores the translations of every example of a split, in both directions.

    They are scored apart for what does not imply each other: a cycle also closes where nothing is
    translated, or where the map permutes classes.

    Returns:
      {`cycle_error_a`, `cycle_error_b`: float64 [N], of the domain's own N}; and their means with
      `told_apart_…` of each direction, which says whether translations are like the domain that
      they come to (`nearest_neighbours.told_apart`). Where both domains have the same classes and
      the run has its data, there are also the shares `correct_…` and `correct_if_renamed_…` of each
      direction, and `judge_…`, what the judge has right of each domain's own examples.
    """
    terms: dict[str, np.ndarray] = {}
    scores: dict[str, float] = {}
    main = main_field(dataset.fields)
    for direction, (source, target) in DIRECTIONS.items():
        made = translate(run, variables, dataset.domain(source), direction)
        own = dataset.domain(target).arrays[main]
        pair = (each[_rows(each, _MOST_TOLD_APART)] for each in (made[main], own))
        error = made["cycle_error"].astype(np.float64)
        terms[f"cycle_error_{source}"] = error
        scores[f"cycle_error_{source}"] = float(error.mean())
        scores[f"told_apart_{direction}"] = told_apart(*pair)
        if run.has_data:
            scores |= _judge_classes(run, dataset, made[main], direction)
    return terms, scores


def _judge_classes(
    run: Run, dataset: data.Dataset, translated: np.ndarray, direction: str
) -> dict[str, float]:
    """The scores of classes in one direction; {} where the domains have no classes in common."""
    source, target = DIRECTIONS[direction]
    known, main = run.train_data.domain(target), main_field(dataset.fields)
    known = known.chosen(_rows(known, _MOST_REFERENCES))
    examples, own = dataset.domain(source), dataset.domain(target)
    if not {"label"} <= examples.fields.keys() & own.fields.keys() & known.fields.keys():
        return {}
    classes, num_classes, theirs = known.classes, known.num_classes, examples.classes
    if num_classes is None or (theirs is None) != (classes is None):
        return {}
    if classes is not None and theirs is not None and {*theirs} != {*classes}:
        return {}
    # Each domain numbers its classes in an order of its own.
    labels = [
        each.arrays["label"] if classes is None else each.labels_among(classes)
        for each in (examples, own, known)
    ]
    # Labels may say no more than the domain, as those of horses and zebras do.
    if len(np.intersect1d(labels[0], labels[2])) < 2:
        return {}

    def judged(found: np.ndarray, expected: np.ndarray) -> ClassAgreement:
        nearest = nearest_labels(found, known.arrays[main], labels[2])
        return class_agreement(nearest, expected, num_classes)

    of_translations = judged(translated, labels[0])
    return {
        f"correct_{direction}": of_translations.correct,
        f"correct_if_renamed_{direction}": of_translations.correct_if_renamed,
        f"judge_{target}": judged(own.arrays[main], labels[1]).correct,
    }


def _rows(examples: Sized, most: int) -> np.ndarray:
    """Rows of examples that stand for all: at random, as sources may be sorted by class."""
    return subset(len(examples), most, seed=0)


def rows_of(
    run: Run, examples: data.Dataset, made: dict[str, np.ndarray], direction: str
) -> list[Row]:
    """The rows of a picture: the first examples, their translations, and those back again."""
    main = main_field(examples.fields)
    source, target = (
        of_domain(run.train_data.fields, domain)[main] for domain in DIRECTIONS[direction]
    )
    rows = ((source, examples.arrays[main]), (target, made[main]), (source, made["cycle"]))
    return [(field, array[: run.config.evaluate.num_translations]) for field, array in rows]


def picture(rows: Sequence[Row]) -> np.ndarray:
    """Draws rows of as many examples each: images under each other, point sets side by side.

    Levels are spread over 0..255, and grey images are shown in colour beside colour images.
    """
    if not is_image(rows[0][0]):
        return scatter_row(*(array for _, array in rows))
    images = [spread(np.asarray(array), field.levels or 256) for field, array in rows]
    channels = max(each.shape[-1] for each in images)
    count = min(MOST_IN_GRID, *map(len, images))
    same = [np.broadcast_to(each, (*each.shape[:3], channels))[:count] for each in images]
    return side_by_side(dict(zip(map(str, range(len(same))), same, strict=True)), 256)


def picture_of_both(run: Run, variables: Variables, dataset: data.Dataset) -> np.ndarray:
    """Pictures the first examples of both domains of a split, translated and back again."""
    first, rows = dataset.first(run.config.evaluate.num_translations), []
    for direction, (source, _) in DIRECTIONS.items():
        examples = first.domain(source)
        made = translate(run, variables, examples, direction)
        rows += rows_of(run, examples, made, direction)
    return picture(rows)
