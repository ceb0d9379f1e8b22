"""What the sweep's numbers say: quartiles, the best runs, ranks, and verdicts on the claims."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from experiments.alpha_gan.settings import GRIDS

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


def of_ablation(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The claims of appendices C and D, each with a verdict.

    Args:
      rows: a row a run: `model`, and the measures of its codes and reconstructions.
    """
    found = []
    for claim, where, name, less, more in (
        (
            "codes are less correlated with the code discriminator than with the empirical KL",
            "appendix D, fig. 12",
            "correlation",
            "alpha_gan",
            "alpha_gan_kl",
        ),
        (
            "means of codes are nearer to 0 with the empirical KL",
            "appendix D, fig. 11",
            "mean",
            "alpha_gan_kl",
            "alpha_gan",
        ),
        (
            "α-GAN reconstructs training images better than AGE",
            "appendix C, figs 8, 9",
            "training_error",
            "alpha_gan",
            "age",
        ),
    ):
        values = {model: column(rows, name, model) for model in (less, more)}
        texts = (
            f"{model} {np.mean(each):.4f} ({min(each):.4f} to {max(each):.4f})"
            for model, each in values.items()
            if each
        )
        verdict = below(values[less], values[more])
        out = f"{name}: {', '.join(texts)}"
        found.append({"claim": claim, "where": where, "came out": out, "verdict": verdict})
    return found


def of_sweep(
    rows: Sequence[Mapping[str, Any]], references: Mapping[str, Mapping[str, float]]
) -> list[dict[str, str]]:
    """The claims of section 6 and appendix G that the runs can speak to, each with a verdict.

    Args:
      rows: a row a run: `model`, `name`, `point` and the measures.
      references: {what images: measures}, from `Judge.references`.
    """
    runs = {model: [row for row in rows if row["model"] == model] for model in GRIDS}
    found = [_two_updates(runs), *_best_model(runs), *_of_alpha_gan(runs), *_of_measures(rows)]
    test = references["test images"]["diversity"]
    noisy = {name: row["diversity"] for name, row in references.items() if "noise" in name}
    found.append(
        {
            "claim": "noise raises diversity above that of the test images",
            "where": "section 5",
            "came out": f"test {test:.3f}; "
            + ", ".join(f"{name.partition(' + ')[2]} {value:.3f}" for name, value in noisy.items()),
            "verdict": "agrees" if min(noisy.values()) > test else "no",
        }
    )
    return found


Runs = Mapping[str, Sequence[Mapping[str, Any]]]


def _two_updates(runs: Runs) -> dict[str, str]:
    once = {tuple(row["point"].items()): row for row in runs["dcgan_once"]}
    pairs = [
        (row, once[point])
        for row in runs["dcgan"]
        if (point := tuple(row["point"].items())) in once
    ]
    texts, verdicts = [], []
    for name in ("critic", "is_1"):
        two, one = ([pair[side][name] for pair in pairs] for side in (0, 1))
        better = sum(a > b for a, b in zip(two, one, strict=True))
        texts.append(f"{name} better in {better} of {len(pairs)} pairs")
        verdicts.append(greater_in_pairs(two, one))
    return {
        "claim": "two updates of the generator help DCGAN",
        "where": "section 6, insights",
        "came out": "; ".join(texts),
        "verdict": all_of(verdicts),
    }


def _best_model(runs: Runs) -> Iterator[dict[str, str]]:
    others = [model for model in ("alpha_gan", "age", "dcgan") if runs[model]]
    for names, where, by in (
        (("critic",), "figs 2a, 2c", "the critic"),
        (("is_1", "is_2"), "fig. 5c", "in-domain inception scores"),
    ):
        texts, verdicts = [], []
        for name in names:
            scores = {model: column(runs[model], name) for model in ("wgan_gp", *others)}
            medians = {model: np.median(values) for model, values in scores.items() if values}
            texts.append(f"{name}: " + ", ".join(f"{m} {v:.3g}" for m, v in medians.items()))
            verdicts += [greater(scores["wgan_gp"], scores[model]) for model in others]
        yield {
            "claim": f"WGAN-GP is best by {by}",
            "where": where,
            "came out": "medians by " + "; ".join(texts),
            "verdict": all_of(verdicts),
        }


def _of_alpha_gan(runs: Runs) -> Iterator[dict[str, str]]:
    alpha, wgan, dcgan = (
        column(runs[model], "critic") for model in ("alpha_gan", "wgan_gp", "dcgan")
    )
    if alpha and dcgan:
        hits = sum(value > max(dcgan) for value in alpha)
        yield {
            "claim": "most runs of α-GAN are better by the critic than the best of DCGAN",
            "where": "section 6, ColorMNIST",
            "came out": f"{hits} of {len(alpha)}",
            "verdict": more_than_half(hits, len(alpha)),
        }
    if alpha and wgan:
        spans = [quartiles(values) for values in (alpha, wgan)]
        widths = [f"{span['upper'] - span['lower']:.3g}" for span in spans]
        deviations = [np.abs(np.subtract(values, np.median(values))) for values in (alpha, wgan)]
        yield {
            "claim": "α-GAN has a wider spread than WGAN-GP by the critic",
            "where": "section 6, CelebA",
            "came out": f"between quartiles {widths[0]} and {widths[1]}",
            "verdict": greater(*deviations),
        }
    errors = [column(runs[model], "reconstruction_error") for model in ("age", "alpha_gan")]
    if all(errors):
        yield {
            "claim": "α-GAN reconstructs better than AGE",
            "where": "appendix C",
            "came out": "median of the mean |x − x̂| on test: AGE {:.3f}, α-GAN {:.3f}".format(
                *map(np.median, errors)
            ),
            "verdict": greater(*errors),
        }
    critic, diversity = (column(runs["alpha_gan"], name) for name in ("critic", "diversity"))
    correlation, chance = rank_correlation(critic, diversity)
    yield {
        "claim": "critic and diversity of α-GAN's runs are correlated",
        "where": "appendix G, fig. 15",
        "came out": f"Spearman's ρ {correlation:.2f} of {len(critic)} runs, p = {chance:.2g}",
        "verdict": "agrees" if chance < LEVEL else TOO_FEW,
    }


def _of_measures(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    hits, count = ranked_oppositely(column(rows, "is_1"), column(rows, "is_2"))
    low, high = interval(hits, count)
    yield {
        "claim": "15 % of the runs are in the top half by one inception score and in the bottom "
        "half by the other",
        "where": "section 6, CIFAR-10",
        "came out": f"{hits} of {count} runs: {hits / count:.0%} ({low:.0%} to {high:.0%})",
        "verdict": share_is(hits, count, 0.15, 0.25),
    }
    chosen = {
        model: {name: best(column(rows, name, model), count=1)[0] for name in ("critic", "is_1")}
        for model in dict.fromkeys(row["model"] for row in rows)
    }
    differ = sum(len(set(places.values())) > 1 for places in chosen.values())
    yield {
        "claim": "the measures choose different best runs",
        "where": "section 6, appendix F",
        "came out": f"critic and is_1 choose different runs of {differ} of {len(chosen)} models",
        "verdict": more_than_half(differ, len(chosen)),
    }
