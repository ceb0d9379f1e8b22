"""Points in the plane drawn from toy densities: 'points:NAME'.

Training, validation and test sets are drawn separately, from frozen streams: a data set is the same
in every version of NumPy. Drawing takes milliseconds, so nothing is stored on disk.
"""

import math
from typing import NamedTuple

import numpy as np

from gm_jax.data.dataset import Dataset
from gm_jax.data.fields import Field, label_field
from gm_jax.data.splits import resolve_split

SPLIT_SIZES = {"train": 100_000, "validation": 10_000, "test": 10_000}
_SEEDS = {"train": 0, "validation": 1, "test": 2}


class Mixture(NamedTuple):
    """Equally weighted Gaussians N(mode, std²·I).

    Attributes:
      modes: float64 [K, 2], their means.
      std: the standard deviation of each mode.
    """

    modes: np.ndarray
    std: float

    @property
    def num_classes(self) -> int:
        """The number of modes; the label of a point is its mode."""
        return len(self.modes)

    def draw(self, generator: np.random.RandomState, labels: np.ndarray) -> np.ndarray:
        """Draws a point from each of the modes `labels`, int [N] -> float64 [N, 2]."""
        return self.modes[labels] + generator.normal(0, self.std, (len(labels), 2))

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """log 1/K Σ_k N(x; mode_k, std²·I) in nats: float [N, 2] -> float64 [N]."""
        points = np.asarray(points, np.float64)
        log_terms = -((points[:, None] - self.modes) ** 2).sum(-1) / (2 * self.std**2)
        norm = math.log(len(self.modes) * 2 * math.pi * self.std**2)
        return np.logaddexp.reduce(log_terms, axis=1) - norm


class Lines(NamedTuple):
    """Two parallel segments x = ±distance/2, −length/2 ≤ y ≤ length/2, blurred by N(0, std²·I).

    The segments are those of Arjovsky et al. (2017), Example 1. Noise along them as well makes the
    density positive everywhere.
    """

    distance: float
    length: float
    std: float

    @property
    def num_classes(self) -> int:
        """The number of lines; the label of a point is its line."""
        return 2

    def draw(self, generator: np.random.RandomState, labels: np.ndarray) -> np.ndarray:
        """Draws a point from each of the lines `labels`, int [N] -> float64 [N, 2]."""
        along = generator.uniform(-self.length / 2, self.length / 2, len(labels))
        points = np.stack([(labels - 0.5) * self.distance, along], axis=1)
        return points + generator.normal(0, self.std, points.shape)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """log of ½ Σ_± N(x; ±distance/2, std²) · [Φ((y+l)/std) − Φ((y−l)/std)] / 2l, l = length/2.

        Args:
          points: float [N, 2].

        Returns:
          float64 [N], nats.
        """
        from scipy.special import log_ndtr  # slow to import, and most sets do not need it

        x, y = np.abs(np.asarray(points, np.float64)).T  # the density is even in both
        offset = x[:, None] - np.array([-1, 1]) * self.distance / 2
        across = np.logaddexp.reduce(-(offset**2) / (2 * self.std**2), axis=1)
        across -= math.log(2 * math.sqrt(2 * math.pi) * self.std)
        half = self.length / 2
        upper, lower = log_ndtr((half - y) / self.std), log_ndtr((-half - y) / self.std)
        return across + upper + np.log1p(-np.exp(lower - upper)) - math.log(self.length)


class Spirals(NamedTuple):
    """Two arms ±r·(cos t, sin t), t = 2π·turns·r/radius, r = radius·√u, u ~ U(0, 1), plus noise.

    The density has no closed form.
    """

    radius: float
    turns: float
    std: float

    @property
    def num_classes(self) -> int:
        """The number of arms; the label of a point is its arm."""
        return 2

    def draw(self, generator: np.random.RandomState, labels: np.ndarray) -> np.ndarray:
        """Draws a point from each of the arms `labels`, int [N] -> float64 [N, 2]."""
        share = np.sqrt(generator.uniform(0, 1, len(labels)))
        angle = 2 * math.pi * self.turns * share + math.pi * labels
        points = self.radius * share[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return points + generator.normal(0, self.std, points.shape)


def _circle(count: int, radius: float, first: float = 0.0) -> np.ndarray:
    """Returns evenly spaced points on a circle, [count, 2], the first at angle `first`."""
    angles = first + 2 * math.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _square(ticks: tuple[float, ...]) -> np.ndarray:
    """Returns all points with coordinates among the ticks, [ticks², 2]."""
    return np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)


# Sets that have modes; `evaluation/mode_coverage.py` takes these modes and this std.
MIXTURES = {
    # Ring and grid as in mixup's GANs (github.com/hongyi-zhang/mixup, folder gan).
    "ring": Mixture(_circle(8, 1.0), 0.01),
    "grid": Mixture(_square((-1.0, -0.5, 0.0, 0.5, 1.0)), 0.01),
    # The grid of adversarially learned inference (Dumoulin et al., 2017) and its successors.
    "grid_ali": Mixture(_square((-4.0, -2.0, 0.0, 2.0, 4.0)), 0.05),
    # Our own: the corners of a triangle, 11 standard deviations apart.
    "blobs": Mixture(_circle(3, 2.0, math.pi / 2), 0.3),
    # The same, turned left by 30 degrees: each corner is nearest to itself before the turn.
    "blobs_turned": Mixture(_circle(3, 2.0, math.pi / 2 + math.pi / 6), 0.3),
}
# Sets with a known density.
_KNOWN: dict[str, Mixture | Lines] = {
    **MIXTURES,
    "lines": Lines(distance=1.0, length=2.0, std=0.02),
}
SETS: dict[str, Mixture | Lines | Spirals] = {
    **_KNOWN,
    # The arms are 2/3 apart, which is 13 standard deviations.
    "spirals": Spirals(radius=2.0, turns=1.5, std=0.05),
}


def _draw_split(density: Mixture | Lines | Spirals, split: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a whole split, from RandomState's frozen streams."""
    generator = np.random.RandomState(_SEEDS[split])
    labels = generator.randint(0, density.num_classes, SPLIT_SIZES[split]).astype(np.int32)
    return {"point": density.draw(generator, labels).astype(np.float32), "label": labels}


def load_points(set_name: str, split: str) -> Dataset:
    """Draws the points of a split, each labelled with its mode, line or arm.

    Args:
      set_name: one of SETS.
      split: in TFDS syntax, of the splits in SPLIT_SIZES.

    Raises:
      ValueError: there is no such set or split.
    """
    if set_name not in SETS:
        raise ValueError(f"no point set {set_name!r}; the sets are {', '.join(SETS)}")
    density, name = SETS[set_name], f"points:{set_name}"
    try:
        ranges = resolve_split(split, SPLIT_SIZES)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    wholes = {each.name: _draw_split(density, each.name) for each in ranges}
    arrays = {
        field: np.concatenate([wholes[each.name][field][each.start : each.stop] for each in ranges])
        for field in ("point", "label")
    }
    fields = {
        "point": Field((2,), "float32"),
        "label": label_field(density.num_classes),
    }
    log_density = _KNOWN[set_name].log_density if set_name in _KNOWN else None
    return Dataset(arrays, fields, name, split, log_density)
