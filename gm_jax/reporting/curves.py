"""What a run logged while it trained, as curves, and a chart of them in SVG."""

import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence

from etils import epath

from gm_jax.evaluation.scatter import COLOURS

# {name of a curve: [(step, value)]}
Curves = dict[str, list[tuple[int, float]]]
_WIDTH, _HEIGHT = 360, 200  # of a chart, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 26, 22  # around its frame
_MOST_POINTS = 300
_LOGARITHMIC = 100  # the ratio of the ends of a chart from which on it is logarithmic
_PALETTE = tuple("#" + bytes(colour).hex() for colour in COLOURS[1:])


def read_curves(workdir: epath.PathLike) -> Curves:
    """All curves in a run's metrics.jsonl; values that were not finite are left out."""
    path = epath.Path(workdir) / "metrics.jsonl"
    curves: Curves = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            values = json.loads(line)
            step = int(values.pop("step"))
        except (ValueError, KeyError, TypeError, AttributeError):  # half-written by a kill
            continue
        for name, value in values.items():
            if isinstance(value, int | float):  # null was not finite
                curves.setdefault(name, []).append((step, float(value)))
    return curves


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for every name, that everyone can tell apart while there are few."""
    if len(names) <= len(_PALETTE):
        return dict(zip(names, _PALETTE, strict=False))
    return {name: f"hsl({360 * n // len(names)} 70% 45%)" for n, name in enumerate(names)}


def chart(
    title: str, curves: Mapping[str, Sequence[tuple[int, float]]], colours: Mapping[str, str]
) -> str:
    """A chart of one quantity in SVG, with the ends of both axes.

    Values that span more than two decades are on a logarithmic scale, as the title then says.

    Args:
      title: the quantity.
      curves: {run: [(step, value)]} of finite values; at least one point in all.
      colours: {run: colour}, as CSS writes it.
    """
    points = [point for curve in curves.values() for point in curve]
    (first, last), (low, high) = (_ends(column) for column in zip(*points, strict=True))
    logarithmic = low > 0 and high / low > _LOGARITHMIC
    scale = math.log if logarithmic else float
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def place(step: float, value: float) -> tuple[float, float]:
        bottom_value, top_value = scale(low), scale(high)
        across = (step - first) / ((last - first) or 1)
        up = (scale(value) - bottom_value) / ((top_value - bottom_value) or 1)
        return _LEFT + across * (right - _LEFT), bottom - up * (bottom - _TOP)

    shown = html.escape(f"{title} (logarithmic)" if logarithmic else title)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{shown}">',
        f'<text x="{_LEFT}" y="16" class="title">{shown}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}"/>',
    ]
    for value in dict.fromkeys((low, high)):
        y = place(first, value)[1] + 4
        parts.append(f'<text x="{_LEFT - 5}" y="{y:.1f}" text-anchor="end">{value:.4g}</text>')
    for step, anchor in {first: "start", last: "end"}.items():
        x = place(step, low)[0]
        where = f'x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}"'
        parts.append(f"<text {where}>{step:,.0f}</text>")
    for name, curve in curves.items():
        line = [place(*point) for point in _thinned(curve)]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        parts.append(f'<polyline points="{drawn}" stroke="{colours[name]}"/>')
        for x, y in line[-1:]:  # a curve of one point is seen, too
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colours[name]}"/>')
    return "".join([*parts, "</svg>"])


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _thinned(curve: Sequence[tuple[int, float]]) -> Iterator[tuple[float, float]]:
    """At most _MOST_POINTS points: means of neighbours."""
    width = -(-len(curve) // _MOST_POINTS) or 1
    for start in range(0, len(curve), width):
        steps, values = zip(*curve[start : start + width], strict=True)
        yield sum(steps) / len(steps), sum(values) / len(values)
