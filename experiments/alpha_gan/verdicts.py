"""The claims of α-GAN's paper that its experiments can speak to, each with a verdict."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.alpha_gan import claims
from experiments.alpha_gan.settings import GRIDS

Runs = Mapping[str, Sequence[Mapping[str, Any]]]  # {model: its rows}


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
        values = {model: claims.column(rows, name, model) for model in (less, more)}
        texts = (
            f"{model} {np.mean(each):.4f} ({min(each):.4f} to {max(each):.4f})"
            for model, each in values.items()
            if each
        )
        verdict = claims.below(values[less], values[more])
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


def _one(test: claims.Chances) -> str:
    """The verdict on a claim of one part."""
    return claims.judged([test])[0]


def _two_updates(runs: Runs) -> dict[str, str]:
    once = {tuple(row["point"].items()): row for row in runs["dcgan_once"]}
    pairs = [
        (row, once[point])
        for row in runs["dcgan"]
        if (point := tuple(row["point"].items())) in once
    ]
    texts, tests = [], []
    for name in ("critic", "is_1"):
        two, one = ([pair[side][name] for pair in pairs] for side in (0, 1))
        better = sum(a > b for a, b in zip(two, one, strict=True))
        texts.append(f"{name} better in {better} of {len(pairs)} pairs")
        tests.append(claims.greater_in_pairs(two, one))
    verdicts = claims.judged(tests)
    return {
        "claim": "two updates of the generator help DCGAN",
        "where": "section 6, insights",
        "came out": "; ".join(
            f"{text}: {verdict}" for text, verdict in zip(texts, verdicts, strict=True)
        ),
        "verdict": claims.all_of(verdicts),
    }


def _best_model(runs: Runs) -> Iterator[dict[str, str]]:
    others = [model for model in ("alpha_gan", "age", "dcgan") if runs[model]]
    for names, where, by in (
        (("critic",), "figs 2a, 2c", "the critic"),
        (("is_1", "is_2"), "fig. 5c", "in-domain inception scores"),
    ):
        texts, tests = [], {}
        for name in names:
            scores = {model: claims.column(runs[model], name) for model in ("wgan_gp", *others)}
            medians = {model: np.median(values) for model, values in scores.items() if values}
            texts.append(f"{name}: " + ", ".join(f"{m} {v:.3g}" for m, v in medians.items()))
            for model in others:
                test = claims.greater(scores["wgan_gp"], scores[model])
                tests[f"than {model} by {name}"] = test
        verdicts = claims.judged(list(tests.values()))
        parts = (f"{part}: {verdict}" for part, verdict in zip(tests, verdicts, strict=True))
        yield {
            "claim": f"WGAN-GP is best by {by}",
            "where": where,
            "came out": f"medians by {'; '.join(texts)}. Better {', '.join(parts)}",
            "verdict": claims.all_of(verdicts),
        }


def _of_alpha_gan(runs: Runs) -> Iterator[dict[str, str]]:
    alpha, wgan, dcgan = (
        claims.column(runs[model], "critic") for model in ("alpha_gan", "wgan_gp", "dcgan")
    )
    if alpha and dcgan:
        hits = sum(value > max(dcgan) for value in alpha)
        yield {
            "claim": "most runs of α-GAN are better by the critic than the best of DCGAN",
            "where": "section 6, ColorMNIST",
            "came out": f"{hits} of {len(alpha)}",
            "verdict": _one(claims.more_than_half(hits, len(alpha))),
        }
    if alpha and wgan:
        spans = [claims.quartiles(values) for values in (alpha, wgan)]
        widths = [f"{span['upper'] - span['lower']:.3g}" for span in spans]
        deviations = [np.abs(np.subtract(values, np.median(values))) for values in (alpha, wgan)]
        yield {
            "claim": "α-GAN has a wider spread than WGAN-GP by the critic",
            "where": "section 6, CelebA",
            "came out": f"between quartiles {widths[0]} and {widths[1]}",
            "verdict": _one(claims.greater(*deviations)),
        }
    errors = [claims.column(runs[model], "reconstruction_error") for model in ("age", "alpha_gan")]
    if all(errors):
        yield {
            "claim": "α-GAN reconstructs better than AGE",
            "where": "appendix C",
            "came out": "median of the mean |x − x̂| on test: AGE {:.3f}, α-GAN {:.3f}".format(
                *map(np.median, errors)
            ),
            "verdict": _one(claims.greater(*errors)),
        }
    critic, diversity = (claims.column(runs["alpha_gan"], name) for name in ("critic", "diversity"))
    correlation, chance = claims.rank_correlation(critic, diversity)
    yield {
        "claim": "critic and diversity of α-GAN's runs rise together",
        "where": "appendix G, fig. 15",
        "came out": f"Spearman's ρ {correlation:.2f} of {len(critic)} runs, p = {chance:.2g}",
        "verdict": claims.TOO_FEW
        if chance >= claims.LEVEL
        else "agrees"
        if correlation > 0
        else "no",
    }


def _of_measures(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    hits, count = claims.ranked_oppositely(claims.column(rows, "is_1"), claims.column(rows, "is_2"))
    low, high = claims.interval(hits, count)
    yield {
        "claim": "15 % of the runs are in the top half by one inception score and in the bottom "
        "half by the other",
        "where": "section 6, CIFAR-10",
        "came out": f"{hits} of {count} runs: {hits / count:.0%} ({low:.0%} to {high:.0%})",
        "verdict": claims.share_is(hits, count, 0.15, 0.25),
    }
    chosen = {
        model: {
            name: claims.best(claims.column(rows, name, model), count=1)[0]
            for name in ("critic", "is_1")
        }
        for model in dict.fromkeys(row["model"] for row in rows)
    }
    differ = sum(len(set(places.values())) > 1 for places in chosen.values())
    yield {
        "claim": "the measures choose different best runs",
        "where": "section 6, appendix F",
        "came out": f"critic and is_1 choose different runs of {differ} of {len(chosen)} models",
        "verdict": _one(claims.more_than_half(differ, len(chosen))),
    }
