"""Figures of α-GAN's experiments: box plots, planes with axes, bars and covariance matrices."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from experiments.alpha_gan import claims
from gm_jax.evaluation.scatter import COLOURS

SIZE, MARGIN = (640, 320), 60  # pixels


class Axes:
    """A white picture with a frame, whose vertical axis has the ends low and high."""

    def __init__(self, title: str, low: float, high: float):
        self.image = Image.new("RGB", SIZE, "white")
        self.draw = ImageDraw.Draw(self.image)
        self.low, self.span = low, (high - low) or 1.0
        left, top, right, bottom = MARGIN, MARGIN, SIZE[0] - MARGIN, SIZE[1] - MARGIN
        self.draw.rectangle((left, top, right, bottom), outline="grey")
        self.draw.text((left, top / 2), title, fill="black")
        for value in {low, high}:
            y = self.up(value)
            self.draw.text((left - 6, y), f"{value:.4g}", fill="black", anchor="rm")

    def across(self, share: float) -> float:
        """The column of a share, 0 to 1, of the horizontal axis."""
        return MARGIN + share * (SIZE[0] - 2 * MARGIN)

    def up(self, value: float) -> float:
        """The row of a value."""
        return SIZE[1] - MARGIN - (value - self.low) / self.span * (SIZE[1] - 2 * MARGIN)

    def below(self, share: float, text: str) -> None:
        """Writes under the horizontal axis."""
        place = self.across(share), SIZE[1] - MARGIN + 6
        self.draw.text(place, text, fill="black", anchor="mt")

    def dot(self, share: float, value: float, colour: object, filled: bool = True) -> None:
        """A point, or a ring."""
        x, y = self.across(share), self.up(value)
        style = {"fill": colour} if filled else {"outline": colour}
        self.draw.ellipse((x - 3, y - 3, x + 3, y + 3), **style)

    def level(self, value: float) -> None:
        """A line across the picture, such as a reference."""
        y = self.up(value)
        self.draw.line((MARGIN, y, SIZE[0] - MARGIN, y), fill="grey")


def box_plot(
    title: str,
    groups: Mapping[str, Sequence[float]],
    references: Mapping[str, float],
    target: float | None = None,
) -> np.ndarray:
    """Boxes from quartile to quartile, all runs as rings, the best ten black (figs 2, 5).

    Args:
      title: the measure.
      groups: {model: a value a run}; an empty one has no box.
      references: {name: value}, drawn as lines that the title lists.
      target: the best value; the highest ones are the best if None.

    Returns:
      A picture, uint8 [H, W, 3].
    """
    every = [value for values in groups.values() for value in values] + [*references.values()]
    lines = ", ".join(f"{name} {value:.3f}" for name, value in references.items())
    axes = Axes(f"{title}; lines: {lines}", min(every), max(every))
    for value in references.values():
        axes.level(value)
    for number, (name, values) in enumerate(groups.items()):
        middle, half = (number + 0.5) / len(groups), 0.25 / len(groups)
        axes.below(middle, f"{name} ({len(values)})")
        if not values:
            continue
        found = claims.quartiles(values)
        left, right = axes.across(middle - half), axes.across(middle + half)
        corners = (left, axes.up(found["upper"]), right, axes.up(found["lower"]))
        axes.draw.rectangle(corners, outline=COLOURS[2], width=2)
        median = axes.up(found["median"])
        axes.draw.line((left, median, right, median), fill=COLOURS[4], width=2)
        marked = set(claims.best(values, target))
        for run, value in enumerate(values):
            # Side by side, so that equal values are seen.
            share = middle + half * ((run + 1) / (len(values) + 1) - 0.5)
            axes.dot(share, value, "black", filled=run in marked)
    return np.asarray(axes.image)


def plane(
    title: str, horizontal: str, groups: Mapping[str, tuple[Sequence[float], Sequence[float]]]
) -> np.ndarray:
    """Points of groups {name: (x, y)} in a plane with axes (fig. 15), uint8 [H, W, 3]."""
    x, y = (np.concatenate([group[axis] for group in groups.values()]) for axis in (0, 1))
    axes = Axes(title, y.min(), y.max())
    first, span = x.min(), (x.max() - x.min()) or 1.0
    for share, value in ((0, first), (1, x.max())):
        axes.below(share, f"{value:.4g}")
    axes.below(0.5, horizontal)
    for number, (name, group) in enumerate(groups.items()):
        colour = COLOURS[1 + number % (len(COLOURS) - 1)]
        axes.draw.text((MARGIN + 100 * number, 8), name, fill=colour)
        for across, up in zip(*group, strict=True):
            axes.dot((across - first) / span, up, colour)
    return np.asarray(axes.image)


def bars(title: str, counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """A histogram of counts [N] between edges [N + 1] (fig. 11), uint8 [H, W, 3]."""
    axes = Axes(title, 0, float(counts.max()))
    for number, count in enumerate(counts):
        left, right = (axes.across((number + side) / len(counts)) for side in (0, 1))
        corners = (left, axes.up(float(count)), right - 1, axes.up(0))
        axes.draw.rectangle(corners, fill=COLOURS[2])
    for share, value in ((0, edges[0]), (1, edges[-1])):
        axes.below(share, f"{value:.3g}")
    return np.asarray(axes.image)


def matrix(values: np.ndarray, limit: float, side: int = 320) -> np.ndarray:
    """A matrix [D, D] as a picture: red is limit and beyond, white 0, blue −limit (fig. 12)."""
    share = np.clip(np.asarray(values, np.float64) / limit, -1, 1)[..., None]
    red, blue = np.array([213, 94, 0]), np.array([0, 90, 178])
    colours = 255 + np.abs(share) * (np.where(share > 0, red, blue) - 255)
    enlarge = max(1, side // len(values))
    return np.rint(colours).astype(np.uint8).repeat(enlarge, 0).repeat(enlarge, 1)
