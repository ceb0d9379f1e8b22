"""What the programs of the primer share: the digits, and pictures of curves, points and images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from experiments import program
from experiments.side_by_side import Curves, overlay_curves
from gm_jax import data
from gm_jax.images import grid, save_png


def run(main: Callable[[], None]) -> None:
    """Runs a program, whose pictures go to --output."""
    flags.DEFINE_string("output", "runs/primer", "Folder for pictures.")
    program.run(lambda _: main())


def digits(split: str = "train") -> np.ndarray:
    """The digits of a split, uint8 [N, 8, 8, 1] in 0..16."""
    return data.load("digits", split).images


def save(name: str, picture: np.ndarray) -> None:
    """Writes a picture into the folder, and prints its path."""
    path = Path(flags.FLAGS.output) / name
    save_png(path, picture)
    print(path)


def save_curves(name: str, curves: Mapping[str, Curves]) -> None:
    """Writes {line: {panel: [(x, y)]}} as panels, with whole x."""
    picture = overlay_curves(curves)
    assert picture is not None  # there are curves
    save(name, picture)


def save_images(name: str, rows: Sequence[np.ndarray], enlarge: int = 4) -> None:
    """Writes rows of images, float [N, H, W, C] in [−1, 1] or uint8 in 0..255, under each other."""
    levels = [
        row if row.dtype == np.uint8 else np.uint8(np.clip(127.5 * (row + 1), 0, 255).round())
        for row in rows
    ]
    save(name, grid(np.concatenate(levels), columns=len(rows[0]), enlarge=enlarge))
