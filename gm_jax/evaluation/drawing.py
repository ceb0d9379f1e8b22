"""Draws samples, reconstructions, interpolations and translations on request."""

from typing import Any

import jax
import numpy as np
from etils import epath

from gm_jax import data
from gm_jax.data.fields import ends_of, main_field, of_domain
from gm_jax.evaluation import translation
from gm_jax.evaluation.latents import interpolate as interpolate_latents
from gm_jax.evaluation.pictures import (
    class_labels,
    draw_reconstructions,
    draw_samples,
    pictured,
    side_by_side,
)
from gm_jax.images import save_gif, save_png, save_pngs, spread
from gm_jax.training import recalibration
from gm_jax.training.run import Run
from gm_jax.training.workdir import write_npz

# Variables from `state.evaluation_variables`, and their step.
Restored = tuple[dict[str, Any], int]
_FOLDERS = {
    "sample": "samples",
    "reconstruct": "reconstructions",
    "interpolate": "interpolations",
    "translate": "translations",
}
_WAY = 9  # images of an interpolation, including its ends


def sample(run: Run, restored: Restored | None = None) -> None:
    """Draws `sample.num_images` images from the best checkpoint at `sample.temperature`.

    Writes into `samples` an npz of all arrays (with class names, for class-conditional methods), a
    picture of the first samples and, for images, a new folder with one PNG per image.
    """
    _refuse_without(run, "sample")
    variables, step = restored or run.restore("best")
    options, spec = run.config.sample, run.train_data.fields
    labels = class_labels(run, options.num_images)
    drawn = draw_samples(run, variables, options.num_images, options.temperature, labels)
    path = picture_path(run, "sample", step)
    folder = path.parent / path.stem
    if jax.process_index() == 0:
        arrays, where = path.with_suffix(".npz"), ""
        stored: dict[str, Any] = {**drawn}
        if "image" in spec:
            levels = spec["image"].levels
            assert levels is not None  # images have levels
            stored["levels"] = levels  # so that data.source=npz:… can read it
            where = f"{folder} and "
            save_pngs(folder, spread(drawn["image"], levels))
        if labels is not None:
            classes = spec["label"].classes
            stored["label"] = labels if classes is None else np.array(classes)[labels]
        write_npz(arrays, stored)
        save_png(path, pictured(drawn, run.train_data))
        print(f"{options.num_images} samples in {where}{arrays}, pictured in {path}")


def reconstruct(run: Run, restored: Restored | None = None) -> None:
    """Reconstructs the first test images with the best checkpoint, as a grid."""
    _refuse_without(run, "reconstruct")
    variables, step = restored or run.restore("best")
    dataset = run.dataset("test")
    rows = reconstructions(run, variables, dataset)
    path = picture_path(run, "reconstruct", step)
    if jax.process_index() == 0:
        save_png(path, pictured(rows, dataset))
        print(f"test images, with their reconstructions below: {path}")


def interpolate(run: Run, restored: Restored | None = None) -> None:
    """Interpolates between the first test images, a pair per row, as a grid and an animation."""
    for function in ("encode", "decode"):
        _refuse_without(run, function, "interpolate")
    spec = run.train_data.fields
    if "image" not in spec:
        raise ValueError(
            f"--mode=interpolate: it draws images only, and this data has {', '.join(spec)}"
        )
    variables, step = restored or run.restore("best")
    dataset = run.dataset("test")
    count = min(run.config.evaluate.num_reconstructions, len(dataset)) // 2
    if not count:
        raise ValueError(
            "--mode=interpolate: this takes two images; set evaluate.num_reconstructions to 2 or "
            "more"
        )
    ways = [
        interpolate_latents(run, variables, dataset.chosen(np.array(pair)), _WAY)
        for pair in np.arange(2 * count).reshape(-1, 2)
    ]
    rows = {name: np.concatenate([way[name] for way in ways]) for name in ways[0]}
    levels = spec["image"].levels
    assert levels is not None  # images have levels
    path = picture_path(run, "interpolate", step)
    if jax.process_index() == 0:
        save_png(path, side_by_side(rows, levels, columns=_WAY))
        frames = [side_by_side({"image": rows["image"][at::_WAY]}, levels) for at in range(_WAY)]
        save_gif(path.with_suffix(".gif"), np.stack(frames))
        print(f"interpolations of {count} pairs of test images: {path}, animated: {path.stem}.gif")


def translate(run: Run, direction: str = "a_to_b", source: str | None = None) -> None:
    """Translates images of one domain to the other, with the best checkpoint.

    Writes into `translations` an npz of the translations (with the class names of what they come
    from, if it has classes), a picture of the first of them and, for images, a new folder with one
    PNG per image.

    Args:
      run: the run.
      direction: one of `fields.DIRECTIONS`.
      source: a data source of images like those of the domain that the direction starts from; all
        of them are translated, or its test split if it has splits. None takes the run's test split.

    Raises:
      ValueError: the method does not translate, or the images do not fit the domain.
    """
    _refuse_without(run, "translate")
    domain, target = ends_of(direction)
    examples = _to_translate(run, source, domain)
    variables, step = run.restore("best")
    made = translation.translate(run, variables, examples, direction)
    path = picture_path(run, "translate", step)
    path = path.with_name(f"{path.stem}_{direction}.png")
    if jax.process_index() == 0:
        main, arrays, folder = main_field(examples.fields), path.with_suffix(".npz"), ""
        stored: dict[str, Any] = {name: made[name] for name in (main, "cycle")}
        levels = of_domain(run.train_data.fields, target)[main].levels
        if levels is not None:
            stored["levels"] = levels  # so that data.source=npz:… can read it
            folder = f"{path.parent / path.stem} and "
            save_pngs(path.parent / path.stem, spread(made[main], levels))
        if examples.labels is not None and examples.classes is not None:
            stored["label"] = np.array(examples.classes)[examples.labels]
        write_npz(arrays, stored)
        rows = translation.rows_of(run, examples, made, direction)
        save_png(path, translation.picture(rows))
        print(f"{len(examples)} translations in {folder}{arrays}, pictured in {path}")


def translations(run: Run, restored: Restored | None = None) -> None:
    """Pictures the first test examples of both domains, translated and back again."""
    variables, step = restored or run.restore("best")
    drawn = translation.picture_of_both(run, variables, run.dataset("test"))
    path = picture_path(run, "translate", step)
    if jax.process_index() == 0:
        save_png(path, drawn)
        print(f"test examples, their translations, and those back again: {path}")


def _to_translate(run: Run, source: str | None, domain: str) -> data.Dataset:
    """The test examples of a domain, or those of another source, which have to be like them."""
    if source is None:
        return run.dataset("test").domain(domain)
    if source.startswith("pair:"):
        raise ValueError(f"--input={source}: give the source of domain {domain} alone")
    config, wanted = run.config.data, of_domain(run.train_data.fields, domain)
    main, split = main_field(wanted), data.split_to_read(source)
    options = {"resize": config.resize, "crop": config.crop, "cache_dir": config.cache_dir}
    examples = data.load(source, split, **options)
    found = examples.fields.get(main)
    if found != wanted[main]:
        raise ValueError(
            f"--input={source}: {main} is {found or 'absent'}, and that of domain {domain} is "
            f"{wanted[main]}; give examples like those that the run was trained on"
        )
    return examples.domain("a")


def reconstructions(
    run: Run, variables: dict[str, Any], dataset: data.Dataset
) -> dict[str, np.ndarray]:
    """The first images of a split as `original`, with their reconstructions below."""
    options = run.config.evaluate
    first = dataset.first(options.num_reconstructions)
    drawn = draw_reconstructions(run, variables, first, options.reconstruction_draws)
    return {"original": np.asarray(first.arrays[main_field(first.fields)]), **drawn}


def picture_path(run: Run, mode: str, step: int) -> epath.Path:
    """Where a mode writes the best checkpoint's grid: by the moments of its batch norms, too."""
    name = f"best_step_{step:08d}"
    if batches := recalibration.batches_of(run):
        name += f"_{batches}_batches"
    if mode == "sample" and (temperature := run.config.sample.temperature) != 1:
        name += f"_temperature_{temperature}"
    return run.output / _FOLDERS[mode] / f"{name}.png"


def _refuse_without(run: Run, function: str, mode: str = "") -> None:
    if function not in run.method.capabilities:
        raise ValueError(
            f"--mode={mode or function}: the method '{run.config.method}' cannot {function}; it "
            "can be trained and evaluated"
        )
