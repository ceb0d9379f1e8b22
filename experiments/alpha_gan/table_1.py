"""Table 1 of α-GAN's paper as a table of runs: what each model has, and how it does.

    python experiments/alpha_gan/table_1.py [--model=MODEL …] [--source=colored:digits]
        [--classifier=WORKDIR] [--seeds=0,1,2] [--steps=600] [--paper] [--output=DIR]

Each MODEL (vae, dcgan, age, alpha_gan, vae_gan, aae, bigan, ali; all by default) is trained for
`--steps` steps with the same convolutions in encoder, generator and discriminator, on batches of
64, and with its own page's losses and rates. All samples are judged by the features of one
classifier, which is trained here on `colored:digits` and given for other images, by an independent
critic, and by diversity; the models that encode by their reconstructions, those with a likelihood
by bits/dim. No model is conditioned on classes, so no classifier is trained on its samples.
`--paper` has the pages' networks for CIFAR-10 and 200,000 steps (not run here; give `--source` and
`--classifier`). In the output folder lie then

- `table_1.csv`, a row a model: what it has, then mean and range of each score over the seeds;
- `table_1.md`: the same for people; `samples.png`: samples of the first seed of each.

Runs lie in `DIR/MODEL-seed_SEED`; the same command goes on where it was killed, and keeps what is
judged.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from experiments.alpha_gan import judge, settings
from experiments.alpha_gan.sweep import of_classifiers
from experiments.hybrids.codes import ratio_to_random_pairs
from gm_jax import command_line, load, sweep
from gm_jax.evaluation.battery import evaluate
from gm_jax.evaluation.context import Context
from gm_jax.evaluation.pictures import draw_reconstructions
from gm_jax.evaluation.records import read_results
from gm_jax.evaluation.request import Request
from gm_jax.training.run import open_run

HEADS = ("observer", "likelihood ratio", "KL", "prior ratio")


class Model(NamedTuple):
    """has: the cells of HEADS; page: its config; fields: what digits in colour change in it."""

    has: tuple[str, str, str, str]
    page: str
    fields: dict[str, Any]


# The paper prints VAE-GAN's and AGE's KL the other way round than its text has them (section 4).
# One ratio of pairs serves BiGAN and ALI for both, which the paper's table does not list.
MODELS = {
    "vae": Model(
        ("yes", "-", "analytic", "-"),
        "vae.py:gaussian,cifar10",
        {"optimizer.learning_rate": 2e-3, "model.kl_annealing_steps": 200}
        | {"model.network.features": 64},
    ),
    "dcgan": Model(("-", "yes", "-", "-"), "alpha_gan.py:dcgan,cifar10", {}),
    "age": Model(("yes", "-", "approximate", "-"), "alpha_gan.py:age,cifar10", {}),
    "alpha_gan": Model(
        ("yes", "yes", "-", "yes"),
        "alpha_gan.py:alpha_gan,cifar10",
        {"model.code_discriminator.widths": (128, 128, 128)},
    ),
    "vae_gan": Model(
        ("features", "yes", "analytic", "-"),
        "vae_gan.py:cifar10",
        {"model.feature_layer": "Conv_1", "model.feature_weight": 1e-2},
    ),
    "aae": Model(
        ("yes", "-", "-", "yes"),
        "adversarial_autoencoder.py:gaussian,cifar10",
        {"model.code_discriminator.widths": (128, 128, 128)},
    ),
    "bigan": Model(
        ("-", "of pairs", "-", "of pairs"),
        "bigan.py:bigan,cifar10",
        {"model.discriminator.joint_widths": (128,)},
    ),
    "ali": Model(
        ("-", "of pairs", "-", "of pairs"),
        "bigan.py:ali,cifar10",
        {"model.discriminator.joint_widths": (128, 128)}
        | {"model.discriminator.code_widths": (64, 64)},
    ),
}
COLUMNS = 12  # of the picture
METRICS = ("is", "fid", "prd", "critic")
OF_LIKELIHOODS = ("bpd", "iwae")
SHOWN = ("is_c", "is", "fd_c", "fid", "f_8", "f_1/8", "critic", *OF_LIKELIHOODS)
SAMPLES = 1_000
CRITIC_STEPS = 75  # of 64 images: as many as the critic of `sweep.py` sees
COLORED = "colored:digits"


def config_of(model: str, seed: int, options: Any) -> ConfigDict:
    """The page's config of a model; unless `--paper`, with networks that one core trains."""
    page = program.load_page(MODELS[model].page)
    known = sweep.fields_of(page)
    fields: dict[str, Any] = {"seed": seed, "data.batch_size": 64, "data.source": options.source}
    steps = options.steps or (200_000 if options.paper else 600)
    if not options.paper:
        layers = [name for name in known if name.endswith(".layers")]
        sizes = [name for name in known if name.endswith(".kernel_size")]
        fields |= dict.fromkeys(layers, settings.NARROW) | dict.fromkeys(sizes, 4)
        fields |= {"model.num_latents": 32, "evaluate.batch_size": 64, **MODELS[model].fields}
        fields |= {"train.checkpoint_every_steps": steps, "train.evaluate_every_steps": steps}
        if "evaluate.recalibration_batches" in known:
            fields["evaluate.recalibration_batches"] = 16
    return sweep.with_fields(page, fields | {"train.steps": steps})


def scores_of(config: ConfigDict, workdir: Path, features: str) -> dict[str, float]:
    """The scores of a trained run; the battery does not do again what it has done."""
    run = open_run(config, workdir)
    likelihoods = OF_LIKELIHOODS if run.method.likelihood else ()
    request = Request(
        METRICS + likelihoods, SAMPLES, features=features, training_steps=CRITIC_STEPS
    )
    missing = evaluate(run, request)
    if missing:
        program.refuse(f"{workdir} is not judged: {missing}")
    scores: dict[str, float] = {}
    for result in read_results(workdir):  # the latest come last
        scores |= {name: value for name, value in result["values"].items() if name in SHOWN}
    with Context(run, request) as context:
        scores["diversity"] = judge.diversity(context.sample_images)
    if "reconstruct" in run.method.capabilities:
        test = run.dataset("test")
        again = draw_reconstructions(run, run.restore("best")[0], test, 1)["image"]
        error = np.abs(np.asarray(test.images, np.float64) - again).mean()
        scores["l1"] = 2 / (run.method.levels - 1) * error  # of images in [−1, 1]
        scores["l2 to random pairs"] = ratio_to_random_pairs(test.images, again)
    return scores


def feature_name(options: Any, folder: Path) -> str:
    """The features that judge: of the classifier given, or of one that is trained here."""
    if options.classifier:
        return f"classifier:{options.classifier}"
    if options.source != COLORED:
        program.refuse(
            f"--source={options.source}: give a classifier of its images, --classifier=WORKDIR "
            f"(configs/classifier.py trains it); {COLORED} needs none"
        )
    config = of_classifiers("colored_digits")[1]["classifier_1"].config
    program.train(config, folder / "classifier")
    return f"classifier:{folder / 'classifier'}"


def main(_: list[str]) -> None:
    """Trains and judges what is missing, and writes the tables and the picture."""
    options, folder = flags.FLAGS, Path(flags.FLAGS.output)
    configs = {
        model: {
            f"{model}-seed_{seed}": config_of(model, int(seed), options) for seed in options.seeds
        }
        for model in options.model or MODELS
    }
    features = feature_name(options, folder)
    rows, pictures = [], {}
    for model, runs in configs.items():
        program.train_all(runs, folder)
        with command_line.refusals():
            found = [scores_of(config, folder / name, features) for name, config in runs.items()]
        row: dict[str, Any] = {"model": model, **dict(zip(HEADS, MODELS[model].has, strict=True))}
        row["seeds"] = len(found)
        for score in found[0]:
            row |= program.mean_and_range(score, [each[score] for each in found])
        rows.append(row)
        trained = load.load(folder / next(iter(runs)))
        pictures[model] = trained.sample(COLUMNS)["image"]
        tabulate(rows, folder)  # what there is, should the rest take long
    program.save_rows(folder / "samples.png", pictures, trained.levels)


def tabulate(rows: list[dict[str, Any]], folder: Path) -> None:
    """Writes the tables."""
    program.write_csv(folder / "table_1.csv", rows)
    text = program.markdown(program.with_ranges(rows))
    (folder / "table_1.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    flags.DEFINE_multi_enum("model", [], list(MODELS), "Repeatable. None: all of them.")
    flags.DEFINE_string("source", COLORED, "The images.")
    flags.DEFINE_string("classifier", "", "A run of configs/classifier.py on these images.")
    program.define_seeds("0,1,2", "A run for each.")
    flags.DEFINE_integer("steps", None, "Steps of each training; 600, or 200,000 as the paper.", 1)
    flags.DEFINE_bool("paper", False, "The pages' networks for CIFAR-10, and 200,000 steps.")
    flags.DEFINE_string("output", "runs/alpha_gan-table_1", "Folder for runs and results.")
    program.run(main)
