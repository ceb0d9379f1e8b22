"""What matches α-GAN's codes with the prior; its reconstructions beside AGE's (appendices C, D).

    python experiments/alpha_gan/ablation.py [--data=colored_digits] [--seeds=0,1,2] [--steps=N]
        [--num_codes=0] [--jobs=2] [--paper] [--output=DIR]

It trains α-GAN with the code discriminator (`alpha_gan`), with the empirical KL in its place
(`alpha_gan_kl`), and AGE, with the page's settings, and on digits in colour with the networks and
steps of `sweep.py`. `--paper` has the page's own size (`--data=cifar10` or `celeba`,
`--num_codes=64000`; not run here). Finished runs are kept. In the output folder lie then

- `ablation.csv`, a row a run: root mean square of the codes' means, mean absolute correlation of
  two latents, mean variance, each with what as many draws from the prior would give; mean |x − x̂|
  of training and test images in [−1, 1];
- `ablation.md`: this table, and the claims with what came out;
- `means.png`: histograms of the means with the code discriminator, then with the KL (fig. 11);
- `covariances.png`: the same for covariances: red is 1, white 0, blue −1 (fig. 12);
- `samples.png`: samples of both (fig. 10); `reconstructions.png`: training images, and below them
  what α-GAN and AGE make of them (figs 8, 9). The pictures are of the first seed.

The code of an image varies with its dequantisation alone. More `--num_codes` than training images
are of the same images with other noise; 0 takes each image once.
"""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from configs import alpha_gan
from experiments import program
from experiments import sweep as runs
from experiments.alpha_gan import figures, settings, verdicts
from gm_jax import command_line, sweep
from gm_jax.evaluation.latent_checks import covariance_of_codes, histogram_of_means
from gm_jax.evaluation.latents import encode
from gm_jax.evaluation.pictures import draw_reconstructions, draw_samples
from gm_jax.evaluation.report import score_split
from gm_jax.images import grid, save_png
from gm_jax.session import use_compilation_cache
from gm_jax.training.run import Run, open_run

MODELS = ("alpha_gan", "alpha_gan_kl", "age")
CODED = MODELS[:2]  # the models whose prior is N(0, I)
COLUMNS = 12  # of the pictures


def create(
    data: str, seeds: list[int], steps: int | None, paper: bool
) -> dict[str, tuple[str, sweep.Member]]:
    """The runs, {name: (page, member)}, a model's seeds next to each other."""
    members = {}
    for model in MODELS:
        page, fields = settings.base(model, data, steps, paper)
        config = alpha_gan.get_config(page)
        for seed in seeds:
            full = sweep.with_fields(config, {**fields, "seed": seed})
            members[f"{model}-seed_{seed}"] = page, sweep.Member(fields, seed, full)
    return members


def codes_of(run: Run, variables: Mapping[str, Any], num_codes: int) -> np.ndarray:
    """Codes of training images, float32 [N, Z]; 0 codes: of each image one."""
    images = run.train_data
    wanted = num_codes or len(images)
    passes = range(math.ceil(wanted / len(images)))
    codes = [encode(run, dict(variables), images, seed) for seed in passes]
    return np.concatenate(codes)[:wanted]


def statistics(codes: np.ndarray, count: int) -> dict[str, float]:
    """Statistics of codes [N, Z] of `count` images, and what `count` draws from the prior give.

    Codes of one image depend on each other: more of them than images bring no more draws.
    """
    covariance = covariance_of_codes(codes)
    deviations = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    others = ~np.eye(len(covariance), dtype=bool)
    correlations = np.abs(covariance / np.outer(deviations, deviations))[others]
    return {
        "mean": float(np.sqrt(np.mean(codes.mean(0, dtype=np.float64) ** 2))),
        "mean_of_prior": 1 / math.sqrt(count),
        "correlation": float(correlations.mean()),
        "correlation_of_prior": math.sqrt(2 / (math.pi * count)),
        "variance": float(np.diag(covariance).mean()),
    }


def measure(
    members: Mapping[str, tuple[str, sweep.Member]], folder: Path, num_codes: int
) -> list[dict[str, Any]]:
    """A row a run; writes the pictures of the first seed, too."""
    rows: list[dict[str, Any]] = []
    codes: dict[str, np.ndarray] = {}
    samples: dict[str, np.ndarray] = {}
    remade: dict[str, np.ndarray] = {}
    levels = 0
    for name, (_, member) in members.items():
        run = open_run(member.config, folder / name)
        variables, _ = run.restore("best")
        model, images, levels = name.partition("-")[0], run.train_data, run.train_data.levels
        row: dict[str, Any] = {"model": model, "seed": member.seed}
        first = model not in {earlier["model"] for earlier in rows}
        if model in CODED:
            found = codes_of(run, variables, num_codes)
            row |= {"codes": len(found), **statistics(found, min(len(found), len(images)))}
            if first:
                codes[model] = found
                samples[model] = draw_samples(run, variables, COLUMNS, 1.0)["image"]
        if first:
            shown = images.chosen(np.arange(min(COLUMNS, len(images))))
            remade.setdefault("training images", np.asarray(shown.images))
            remade[model] = draw_reconstructions(run, variables, shown, 1)["image"]
        _, scores, _ = score_split(run, variables, images)
        tested = json.loads((folder / name / "test.json").read_text())
        row["training_error"] = scores["reconstruction_error"]
        row["test_error"] = tested["reconstruction_error"]
        rows.append(row)
        print(f"{len(rows)}/{len(members)} measured: {name}", file=sys.stderr)
    draw(codes, folder)
    if samples:
        program.save_rows(folder / "samples.png", samples, levels)
    program.save_rows(folder / "reconstructions.png", remade, levels)
    return rows


def draw(codes: Mapping[str, np.ndarray], folder: Path) -> None:
    """Writes `means.png` and `covariances.png` of {model: codes}."""
    if not codes:
        return
    histograms = [
        figures.bars(f"means of {model}'s codes", *histogram_of_means(found))
        for model, found in codes.items()
    ]
    save_png(folder / "means.png", np.concatenate(histograms))
    matrices = [figures.matrix(covariance_of_codes(found), 1.0) for found in codes.values()]
    save_png(folder / "covariances.png", grid(np.stack(matrices), columns=len(matrices)))


def main(_: list[str]) -> int:
    """Reads the flags; returns the exit status."""
    options = flags.FLAGS
    runs.end_with_runs()
    command_line.set_verbosity()
    if not options.paper:
        jax.config.update("jax_platforms", "cpu")  # accelerators are for the runs
    use_compilation_cache()
    folder = Path(options.output)
    members = create(options.data, options.seeds, options.steps, options.paper)
    of = {name: member for name, (_, member) in members.items()}
    with command_line.refusals():
        sweep.check({name: member.config for name, member in of.items()}, folder)
    commands = {
        name: settings.command(
            "main.py", f"alpha_gan.py:{page}", member, f"--workdir={folder / name}"
        )
        for name, (page, member) in members.items()
    }
    failed = runs.train_all(of, commands, folder, options.jobs)
    finished = {name: member for name, member in members.items() if name not in failed}
    if not finished:
        program.refuse(f"no run is finished; {folder / 'logs'} says why")
    with command_line.refusals():
        rows = measure(finished, folder, options.num_codes)
    program.write_csv(folder / "ablation.csv", rows)
    text = "\n".join(map(program.markdown, (verdicts.of_ablation(rows), rows)))
    (folder / "ablation.md").write_text(text, encoding="utf-8")
    print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    flags.DEFINE_enum("data", "colored_digits", list(alpha_gan.DATA), "Data of the page.")
    program.define_seeds("0,1,2", "Of each model, divided by commas.")
    flags.DEFINE_integer("steps", None, "Steps of each training; as above by default.", 1)
    flags.DEFINE_integer("num_codes", 0, "Codes of each run; 0: one of each training image.", 0)
    flags.DEFINE_integer("jobs", 2, "Runs that are trained at the same time.", 1)
    flags.DEFINE_bool("paper", False, "The page's own size.")
    flags.DEFINE_string("output", "runs/alpha_gan-ablation", "Folder for runs and results.")
    program.run(main)
