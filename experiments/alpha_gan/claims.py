"""What the numbers of runs say: quartiles, the best runs, ranks, and whether a claim holds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

TOO_FEW = "too few runs to say"
LEVEL = 0.05  # of the tests
BEST = 10  # runs that a box plot marks


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Least value, the three quartiles and the largest value."""
    names = ("least", "lower", "median", "upper", "most")
    found = np.percentile(np.asarray(values, np.float64), (0, 25, 50, 75, 100))
    return dict(zip(names, map(float, found), strict=True))


def best(values: Sequence[float], target: float | None = None, count: int = BEST) -> list[int]:
    """The positions of the best values, the best first.

    The highest are the best or, with a target, those nearest to it: so for diversity, whose target
    is that of test images.
    """
    values = np.asarray(values, np.float64)
    loss = -values if target is None else np.abs(values - target)
    return [int(place) for place in np.argsort(loss, kind="stable")[:count]]


def ranked_oppositely(a: Sequence[float], b: Sequence[float]) -> tuple[int, int]:
    """How many runs are in the top half by `a` and in the bottom half by `b`, and how many runs.

    Halves are above and below the median. Ranks that have nothing to do with each other give a
    quarter of the runs, and opposite ones a half.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return int(((a > np.median(a)) & (b < np.median(b))).sum()), len(a)


def interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's)."""
    found = stats.binomtest(hits, count).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


class Chances(NamedTuple):
    """A test's chances of values so far above, and so far below, if there is no difference."""

    greater: float
    less: float


NOT_TESTED = Chances(1.0, 1.0)


def greater(a: Sequence[float], b: Sequence[float]) -> Chances:
    """Whether values `a` tend to lie above values `b` (rank-sum)."""
    if min(len(a), len(b)) < 2:
        return NOT_TESTED
    return Chances(
        *(float(stats.mannwhitneyu(a, b, alternative=side).pvalue) for side in ("greater", "less"))
    )


def greater_in_pairs(a: Sequence[float], b: Sequence[float]) -> Chances:
    """The same for values in pairs (signed ranks)."""
    differences = np.subtract(a, b)
    if not np.any(differences):
        return NOT_TESTED
    return Chances(
        *(float(stats.wilcoxon(differences, alternative=s).pvalue) for s in ("greater", "less"))
    )


def more_than_half(hits: int, count: int) -> Chances:
    """Whether more than half of the runs are hits (binomial test)."""
    return Chances(
        *(float(stats.binomtest(hits, count, alternative=s).pvalue) for s in ("greater", "less"))
    )


def judged(tests: Sequence[Chances]) -> list[str]:
    """The verdict on each part of a claim: agrees if it is greater, no if less, or too few runs.

    Holm's correction: the chance that any part without a difference is called one way is at most
    LEVEL, however many the parts.
    """
    sides = [_holm([test[side] for test in tests]) for side in (0, 1)]
    return [
        "agrees" if more <= LEVEL else "no" if less <= LEVEL else TOO_FEW
        for more, less in zip(*sides, strict=True)
    ]


def _holm(chances: Sequence[float]) -> list[float]:
    """Chances corrected for their number: the least times N, the next times N − 1, … (Holm, 1979).

    None is less than one that was less before, nor more than 1.
    """
    order = np.argsort(chances, kind="stable")
    corrected = np.empty(len(order))
    times = np.arange(len(order), 0, -1)
    corrected[order] = np.maximum.accumulate(np.asarray(chances)[order] * times)
    return [float(chance) for chance in np.minimum(corrected, 1)]


def below(a: Sequence[float], b: Sequence[float]) -> str:
    """Whether all values `a` are below all values `b`, of three seeds or more each.

    By chance alone three values are below three others once in twenty times.
    """
    if min(len(a), len(b)) < 3:
        return TOO_FEW
    return "agrees" if max(a) < min(b) else "no" if min(a) > max(b) else TOO_FEW


def all_of(verdicts: Sequence[str]) -> str:
    """The verdict on a claim by those of its parts (`judged`).

    It agrees if all parts do, and in part if some do and others are refuted; a refuted part refutes
    it if no other agrees.
    """
    if "no" in verdicts:
        return "in part" if "agrees" in verdicts else "no"
    return "agrees" if verdicts and set(verdicts) == {"agrees"} else TOO_FEW


def share_is(hits: int, count: int, published: float, unrelated: float) -> str:
    """Whether a share is the published one and not that of unrelated ranks."""
    low, high = interval(hits, count)
    if low <= published <= high:
        return TOO_FEW if low <= unrelated <= high else "agrees"
    return "no"


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Spearman's correlation of two measures, and the chance of one as far from 0."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan, 1.0
    found = stats.spearmanr(a, b)
    return float(found.statistic), float(found.pvalue)


def column(rows: Sequence[Mapping[str, Any]], name: str, model: str = "") -> list[float]:
    """A measure of all runs, or of those of a model, that have it."""
    return [row[name] for row in rows if name in row and model in ("", row["model"])]
