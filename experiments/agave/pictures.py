"""Shows what AGAVE's latents do: draws given one f(z), and interpolations between images.

    python experiments/agave/pictures.py [--workdir=RUN] [--num_sketches=8] [--num_draws=10]
        [--num_pairs=4] [--num_steps=8] [--classifier=RUN] [--output=DIR]

Without `--workdir` it first trains `--variant` (for `--steps`) in `DIR/run`, unless that is done.
It writes into the output folder

- `draws.png`: a column for each z from the prior, with f(z) above its PixelCNN samples (fig. 3.5);
- `draws.csv`: the root-mean-square distance, for pixels in 0..1, of the draws from their own f(z),
  from the f(z) of the other columns, and from their own mean;
- `interpolations.png`: interpolations between the latents of two test images: for each pair the
  f(z) along the path and, below them, the finished images (fig. 3.6), all with the same PixelCNN
  noise;
- with a run of `configs/classifier.py`, `recognised.csv`: the share of test images, of their f(z),
  and of PixelCNN samples given these, whose class it recognises.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import command_line, load
from gm_jax.evaluation.batches import over_rows
from gm_jax.evaluation.feature_networks import open_network
from gm_jax.evaluation.latent_information import draw_images, draw_latents
from gm_jax.evaluation.pictures import draw_reconstructions
from gm_jax.images import spread
from gm_jax.training.run import load_split, open_trained


def picture_draws(
    workdir: str, output: str, num_sketches: int, num_draws: int
) -> list[dict[str, Any]]:
    """Draws `num_draws` samples for each of `num_sketches` f(z); returns the table's rows."""
    run = open_trained(workdir)
    variables, _ = run.restore("best")
    latents = draw_latents(run, variables, num_sketches)
    drawn = [draw_images(run, variables, latents, seed) for seed in range(num_draws)]
    levels, f_z = run.train_data.levels, drawn[0]["f_z"]
    rows = {"f_z": f_z} | {f"draw {k + 1}": one["image"] for k, one in enumerate(drawn)}
    program.save_rows(f"{output}/draws.png", rows, levels)
    table = distances(np.stack([one["image"] for one in drawn]), f_z, levels)
    program.write_csv(f"{output}/draws.csv", table)
    return table


def distances(draws: np.ndarray, f_z: np.ndarray, levels: int) -> list[dict[str, Any]]:
    """A row per sketch: distances of its draws [draws, N, H, W, C] from the f(z) [N, H, W, C]."""
    draws, f_z = (np.asarray(images, np.float64) / (levels - 1) for images in (draws, f_z))

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(np.mean((a - b) ** 2)))

    return [
        {
            "sketch": sketch,
            "to_own_f_z": distance(own, f_z[sketch]),
            "to_other_f_z": distance(own[:, None], np.delete(f_z, sketch, 0)),
            "to_own_mean": distance(own, own.mean(0)),
        }
        for sketch, own in enumerate(np.moveaxis(draws, 1, 0))
    ]


def picture_interpolations(workdir: str, output: str, num_pairs: int, num_steps: int) -> None:
    """Draws the interpolations between the first test images, two at a time."""
    model = load.load(workdir)
    images = np.asarray(load_split(model.config.data, "test").images[: 2 * num_pairs])
    if len(images) < 2 * num_pairs:
        raise SystemExit(f"--num_pairs={num_pairs}: there are {len(images)} test images")
    rows = {}
    for pair in range(num_pairs):
        way = model.interpolate(*images[2 * pair : 2 * pair + 2], num_steps)
        rows[f"f_z of pair {pair + 1}"] = way["f_z"]
        rows[f"pair {pair + 1}"] = way["image"]
    program.save_rows(f"{output}/interpolations.png", rows, model.levels)


def recognise(workdir: str, classifier: str, output: str) -> list[dict[str, Any]]:
    """Writes and returns the accuracies on test images, on their f(z) and on draws given these.

    Raises:
      ValueError: the test images have no labels, or there is no such classifier for them.
    """
    run = open_trained(workdir)
    variables, _ = run.restore("best")
    test = load_split(run.config.data, "test")
    if test.labels is None:
        raise ValueError(f"--classifier={classifier}: the images of {test.name} have no labels")
    network = open_network(f"classifier:{classifier}", run, None, "tf1")
    labels = test.labels if network.classes is None else test.labels_among(network.classes)
    rebuilt = draw_reconstructions(run, variables, test, 1, 0)

    def share_of_right(images: np.ndarray) -> float:
        logits = over_rows(
            spread(np.asarray(images), test.levels),
            lambda batch: network.extract(batch["rows"])["logits"],
            run.config.evaluate.batch_size,
            np.arange(len(test)),
        )
        return float(np.mean(logits.argmax(axis=1) == labels))

    shown = {"test images": test.images, "f(z)": rebuilt["f_z"], "draws": rebuilt["image"]}
    table = [
        {"images": name, "recognised": share_of_right(images)} for name, images in shown.items()
    ]
    program.write_csv(f"{output}/recognised.csv", table)
    return table


def main(_: list[str]) -> None:
    """Reads the flags."""
    options = flags.FLAGS
    workdir = options.workdir
    if not workdir:
        config = program.load_config("agave", options.variant, options.steps)
        workdir = f"{options.output}/run"
        program.train(config, workdir)
    with command_line.refusals():
        picture_draws(workdir, options.output, options.num_sketches, options.num_draws)
        picture_interpolations(workdir, options.output, options.num_pairs, options.num_steps)
        if options.classifier:
            recognise(workdir, options.classifier, options.output)


if __name__ == "__main__":
    program.define_flags("runs/agave-pictures")
    flags.DEFINE_string("workdir", None, "Work directory of a trained AGAVE.")
    flags.DEFINE_string("classifier", None, "Run of configs/classifier.py on the same images.")
    flags.DEFINE_integer("num_sketches", 8, "Number of f(z) drawn from the prior.", 2)
    flags.DEFINE_integer("num_draws", 10, "PixelCNN samples per f(z).", 1)
    flags.DEFINE_integer("num_pairs", 4, "Pairs of test images.", 1)
    flags.DEFINE_integer("num_steps", 8, "Images per interpolation, with both ends.", 2)
    program.run(main)
