"""What codes keep: errors against random pairs, and nearest neighbours on features (BiGAN, 4.1).

    python experiments/hybrids/codes.py [--variant=digits] [--source=SOURCE] [--seeds=0,1,2]
        [--steps=N] [--output=DIR]

It trains BiGAN, ALI and the adversarial auto-encoder, pages of `configs/`, and judges the test
images: the length of x − G(E(x)), and of z − E(G(z)) for z of the prior, each divided by that of
random pairs, which is 1 where E says nothing; and how often the nearest of 10,000 training images
is of the same class, by the features that E's last layer sees. BiGAN's paper has 97.4 % on MNIST,
and 97.6 % for the auto-encoder of its Table 1; `--variant=mnist` is its size (not run here), and
`--source=npz:FILE` gives other images to a variant. In the output folder lie then

- `codes.csv`, a row a model: mean and range over the seeds; `codes.md`: the same for people;
- `reconstructions.png`: test images, and below them what the first seed of each makes of them.

Pixels and encoders before training, which need no BiGAN, are there to compare with. Runs lie in
`DIR/MODEL-seed_SEED`; the same command goes on where it was killed.
"""

import sys
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from numpy.typing import ArrayLike

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import command_line, sweep
from gm_jax.data.dataset import Dataset
from gm_jax.evaluation.batches import over_images
from gm_jax.evaluation.image_sets import subset
from gm_jax.evaluation.latents import decode, encode
from gm_jax.evaluation.nearest_neighbours import nearest_labels
from gm_jax.evaluation.pictures import draw_reconstructions
from gm_jax.methods.method import Batch, Noise, Variables
from gm_jax.nn.noise import keyed
from gm_jax.state import evaluation_variables
from gm_jax.training.run import Run, open_run

PAGES = {
    "bigan": "bigan.py:bigan",
    "ali": "bigan.py:ali",
    "aae": "adversarial_autoencoder.py:gaussian",
}
COLUMNS = 12  # of the picture
MOST = {"train": 10_000, "test": 2_000}  # images of the nearest neighbours


def ratio_to_random_pairs(x: ArrayLike, again: ArrayLike) -> float:
    """The mean length of x − x̂, divided by that of x minus the x̂ of another example.

    0: all is kept; 1: x̂ says nothing of x.

    Args:
      x: [N ≥ 2, ...].
      again: what became of each, of the same shape.
    """
    x, again = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (x, again))
    order = np.random.default_rng(0).permutation(len(x))
    others = np.empty_like(again)
    others[order] = again[np.roll(order, 1)]
    apart = np.linalg.norm(x - others, axis=1).mean()
    return float(np.linalg.norm(x - again, axis=1).mean() / apart)


def features_of(run: Run, variables: Variables, dataset: Dataset) -> dict[str, np.ndarray]:
    """`features` [N, F], which the last layer of an encoder sees, and its `codes` [N, Z]."""

    def features(variables: Variables, batch: Batch, noise: Noise) -> Any:
        seen: list[Any] = []

        def keep(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if isinstance(context.module, nn.Dense):
                seen.append(args[0])
            return call(*args, **kwargs)

        with nn.intercept_methods(keep):
            codes = run.method.encode(variables, batch, noise)
        return {"features": seen[-1], "codes": codes}

    program, key = run.program("features", keyed(features)), run.keys["reconstruct"]
    size = run.config.evaluate.batch_size
    return over_images(dataset, lambda each: program(variables, each, key), size, "features")


def part(run: Run, split: str) -> Dataset:
    """Examples of a split, at random."""
    dataset = run.dataset(split)
    return dataset.chosen(subset(len(dataset), MOST[split], seed=0))


def same_class(of: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> float:
    """The share of test images whose nearest training image is of the same class."""
    found = nearest_labels(of["test"], of["train"], labels["train"])
    return float((found == labels["test"]).mean())


def judged(run: Run, variables: Variables) -> dict[str, float]:
    """The scores of a trained encoder and generator."""
    parts = {split: part(run, split) for split in MOST}
    labels = {split: np.asarray(each.labels) for split, each in parts.items()}
    test = parts["test"]
    assert test.images is not None  # the pages are of images
    again = draw_reconstructions(run, variables, test, 1)["image"]
    index = np.arange(len(test), dtype=np.int32)
    z = run.method.sample_latents(variables, Noise(run.keys["sample"], index))
    made = decode(run, variables, np.asarray(z), index)["image"]
    levels = run.method.levels
    images = Dataset.of_images(made, None, levels, None, "samples", "samples")
    scores = {
        "image_ratio": ratio_to_random_pairs(test.images, again),
        "code_ratio": ratio_to_random_pairs(z, encode(run, variables, images)),
    }
    for name, given in (("features", variables), ("untrained", untrained(run))):
        of = {split: features_of(run, given, each)["features"] for split, each in parts.items()}
        scores[name] = same_class(of, labels)
    pixels = {split: np.asarray(each.images) for split, each in parts.items()}
    return scores | {"pixels": same_class(pixels, labels)}


def untrained(run: Run) -> Variables:
    """The variables before the first step."""
    return evaluation_variables(run.initial_state())


def config_of(model: str, seed: int, options: Any) -> ConfigDict:
    """The page's config of a model, on the images asked for."""
    config = program.load_page(f"{PAGES[model]},{options.variant}")
    fields: dict[str, Any] = {"seed": seed}
    if options.source:
        fields["data.source"] = options.source
    if options.steps is not None:
        fields["train.steps"] = options.steps
    return sweep.with_fields(config, fields)


def main(_: list[str]) -> None:
    """Trains what is missing, and writes the tables and the picture."""
    options, folder = flags.FLAGS, Path(flags.FLAGS.output)
    configs = {
        f"{model}-seed_{seed}": config_of(model, int(seed), options)
        for model in options.model or PAGES
        for seed in options.seeds
    }
    program.train_all(configs, folder)
    scores: dict[str, list[dict[str, float]]] = {}
    pictures: dict[str, np.ndarray] = {}
    with command_line.refusals():
        for name, config in configs.items():
            run, model = open_run(config, folder / name), name.partition("-")[0]
            variables, _ = run.restore("best")
            scores.setdefault(model, []).append(judged(run, variables))
            if model not in pictures:
                shown = run.dataset("test").first(COLUMNS)
                pictures.setdefault("test images", np.asarray(shown.images))
                pictures[model] = draw_reconstructions(run, variables, shown, 1)["image"]
    rows = []
    for model, of_seeds in scores.items():
        row: dict[str, Any] = {"model": model, "seeds": len(of_seeds)}
        for name in of_seeds[0]:
            row |= program.mean_and_range(name, [found[name] for found in of_seeds])
        rows.append(row)
    program.write_csv(folder / "codes.csv", rows)
    program.save_rows(folder / "reconstructions.png", pictures, run.method.levels)
    text = program.markdown(program.with_ranges(rows))
    (folder / "codes.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    flags.DEFINE_multi_enum("model", [], list(PAGES), "Repeatable. None: all of them.")
    flags.DEFINE_string("variant", "digits", "The data of the pages.")
    flags.DEFINE_string("source", "", "Other images than the variant's, as data.source.")
    program.define_seeds("0,1,2", "A run for each.")
    flags.DEFINE_integer("steps", None, "Steps of each training; the page's by default.", 1)
    flags.DEFINE_string("output", "runs/hybrids-codes", "Folder for runs and results.")
    program.run(main)
