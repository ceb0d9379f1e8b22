"""What the numbers of runs say: quartiles, the best runs, ranks, and whether a claim holds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

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


def greater(a: Sequence[float], b: Sequence[float]) -> str:
    """Whether values `a` tend to lie above values `b`: agrees, no, or too few runs (rank-sum)."""
    if min(len(a), len(b)) < 2:
        return TOO_FEW
    return _verdict(
        *(float(stats.mannwhitneyu(a, b, alternative=side).pvalue) for side in ("greater", "less"))
    )


def greater_in_pairs(a: Sequence[float], b: Sequence[float]) -> str:
    """The same for values in pairs (signed ranks)."""
    differences = np.subtract(a, b)
    if not np.any(differences):
        return TOO_FEW
    return _verdict(
        *(float(stats.wilcoxon(differences, alternative=s).pvalue) for s in ("greater", "less"))
    )


def below(a: Sequence[float], b: Sequence[float]) -> str:
    """Whether all values `a` are below all values `b`, of three seeds or more each.

    By chance alone three values are below three others once in twenty times.
    """
    if min(len(a), len(b)) < 3:
        return TOO_FEW
    return "agrees" if max(a) < min(b) else "no" if min(a) > max(b) else TOO_FEW


def _verdict(p_greater: float, p_less: float) -> str:
    return "agrees" if p_greater < LEVEL else "no" if p_less < LEVEL else TOO_FEW


def all_of(verdicts: Sequence[str]) -> str:
    """The verdict on a claim of several parts: a refuted part refutes it, all must agree."""
    if "no" in verdicts:
        return "no"
    return "agrees" if verdicts and set(verdicts) == {"agrees"} else TOO_FEW


def share_is(hits: int, count: int, published: float, unrelated: float) -> str:
    """Whether a share is the published one and not that of unrelated ranks."""
    low, high = interval(hits, count)
    if low <= published <= high:
        return TOO_FEW if low <= unrelated <= high else "agrees"
    return "no"


def more_than_half(hits: int, count: int) -> str:
    """Whether more than half of the runs are hits (binomial test)."""
    return _verdict(
        *(float(stats.binomtest(hits, count, alternative=s).pvalue) for s in ("greater", "less"))
    )


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Spearman's correlation of two measures, and the chance of one as far from 0."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan, 1.0
    found = stats.spearmanr(a, b)
    return float(found.statistic), float(found.pvalue)


def column(rows: Sequence[Mapping[str, Any]], name: str, model: str = "") -> list[float]:
    """A measure of all runs, or of those of a model, that have it."""
    return [row[name] for row in rows if name in row and model in ("", row["model"])]
