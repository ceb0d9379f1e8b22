"""Pictures of several runs: their samples under each other, their curves over each other."""

import re
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath
from PIL import Image, ImageColor, ImageDraw

from gm_jax.borders import reading
from gm_jax.evaluation.scatter import COLOURS
from gm_jax.reporting import curves as logged
from gm_jax.reporting.curves import Curves

_LINE = 16  # height of a caption, pixels
_SIZE, _MARGIN = (640, 240), 70  # of one panel of curves and around it, pixels
# Curves of training that are shown beside those of validation.
_TRAINING = ("bits_per_dim", "nats", "loss")
# And of a player among several, generator/bits_per_dim.
_OF_PLAYERS = ("bits_per_dim", "nats")


def newest_grid(workdir: str) -> epath.Path | None:
    """The grid of samples of the best checkpoint, or else of the last step; None without any.

    One at the temperature of the model itself goes before those at others.
    """
    folder = epath.Path(workdir) / "samples"
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    of_best = r"best_step_\d+(_\d+_batches)?\.png"
    for pattern in (of_best, r"best_step_.*\.png", r"step_.*\.png"):
        found = [name for name in names if re.fullmatch(pattern, name)]
        if found:
            return folder / found[-1]
    return None


def stack_grids(runs: Sequence[str]) -> np.ndarray | None:
    """The grids of samples under each other, each under its run's path; None without any."""
    pictures = {}
    for run in runs:
        path = newest_grid(run)
        if path is None:
            print(f"{run}: no grid of samples; --mode=sample draws one", file=sys.stderr)
            continue
        with reading(f"{path}", "--mode=sample draws it anew"), path.open("rb") as file:
            pictures[run] = Image.open(file).convert("RGB")
    if not pictures:
        return None
    width = max(picture.width for picture in pictures.values())
    height = sum(picture.height + _LINE for picture in pictures.values())
    canvas = Image.new("RGB", (width, height), "white")
    top = 0
    for name, picture in pictures.items():
        ImageDraw.Draw(canvas).text((2, top + 2), name, fill="black")
        canvas.paste(picture, (0, top + _LINE))
        top += picture.height + _LINE
    return np.asarray(canvas)


def read_curves(workdir: str) -> Curves:
    """What a run's metrics.jsonl says of validation, and of the loss and likelihood in training."""

    def is_wanted(name: str) -> bool:
        prefix, _, last = name.rpartition("/")
        wanted = last in (_OF_PLAYERS if prefix else _TRAINING)
        return wanted or name.startswith("validation/")

    found = logged.read_curves(workdir)
    return {name: curve for name, curve in found.items() if is_wanted(name)}


def overlay_curves(runs: Mapping[str, Curves]) -> np.ndarray | None:
    """A panel for every curve that a run has, all runs over each other in it.

    Returns:
      A picture, uint8 [H, W, 3]; None where no run has a curve.
    """
    names = dict.fromkeys(name for curves in runs.values() for name in curves)
    order = [name for name in names if "/" in name] + [name for name in names if "/" not in name]
    if not order:
        return None
    palette = COLOURS[1:]
    if len(runs) > len(palette):
        palette = tuple(
            ImageColor.getrgb(f"hsl({360 * n // len(runs)}, 75%, 45%)") for n in range(len(runs))
        )
    colours = dict(zip(runs, palette, strict=False))
    legend = (len(runs) + 1) * _LINE
    canvas = Image.new("RGB", (_SIZE[0], legend + len(order) * _SIZE[1]), "white")
    draw = ImageDraw.Draw(canvas)
    for n, (run, colour) in enumerate(colours.items()):
        draw.line((4, (n + 0.75) * _LINE, 24, (n + 0.75) * _LINE), fill=colour, width=3)
        draw.text((30, n * _LINE + 4), run, fill="black")
    for n, name in enumerate(order):
        shown = {run: curves[name] for run, curves in runs.items() if name in curves}
        _panel(draw, legend + n * _SIZE[1], name, shown, colours)
    return np.asarray(canvas)


def _panel(
    draw: ImageDraw.ImageDraw,
    top: int,
    name: str,
    curves: Mapping[str, list[tuple[int, float]]],
    colours: Mapping[str, tuple[int, int, int]],
) -> None:
    """Draws one panel, its upper edge at `top`: a frame with the ends of both axes, and lines."""
    steps, values = np.array([point for curve in curves.values() for point in curve]).T
    left, right, height = _MARGIN, _SIZE[0] - _LINE, _SIZE[1] - 3 * _LINE
    (first, last), (low, high) = (steps.min(), steps.max()), (values.min(), values.max())

    def place(step: float, value: float) -> tuple[float, float]:
        across = (step - first) / ((last - first) or 1)
        up = (value - low) / ((high - low) or 1)
        return left + across * (right - left), top + _LINE + height * (1 - up)

    draw.text((left, top), name, fill="black")
    draw.rectangle((left, top + _LINE, right, top + _LINE + height), outline="grey")
    for value in {low, high}:
        draw.text((left - 6, place(first, value)[1]), f"{value:.4g}", fill="black", anchor="rm")
    for step in {first, last}:
        below = place(step, low)[0], top + height + _LINE + 4
        draw.text(below, f"{step:.0f}", fill="black", anchor="mt")
    for run, curve in curves.items():
        points = [place(*point) for point in curve]
        draw.line(points, fill=colours[run], width=2)
        for x, y in points[-1:]:  # a curve of one point is seen, too
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colours[run])
