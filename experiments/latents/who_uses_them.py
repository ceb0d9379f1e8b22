"""Who uses the latents? VAEs with autoregressive decoders, at equal updates (thesis 3.3.2).

    python experiments/latents/who_uses_them.py [--variant=digits] [--rows=whole,agave_2]
        [--steps=1500] [--seeds=0,1,2] [--output=DIR]

A decoder that sees all pixels before one models images without z, and the KL divergence falls to
0: `whole`. The other rows would keep it: a warm-up of the KL over a third of the updates, free
bits, soft free bits, a decoder that sees a window of rows and columns alone (the lossy VAE), two
levels of latents (PixelVAE), with a warm-up and a whole view and with a window, and an auxiliary
decoder, with several λ (AGAVE). All see the same batches and keep no average of parameters. It
writes into the output folder

- `table.csv`, a row a model, mean and range over the seeds, and `table.md` for people, on test
  images: bits/dim and the KL in nats, by one-sample bounds; bounds on I(x; f(z)) in nats, of 64
  samples of the model, so of at most ln 64; the accuracy of a linear classifier of the codes (the
  means of draws from the posterior); and `image_recognised`, how often the nearest training image
  of a reconstruction is of the class of what it reconstructs, and the same of f(z), where that is a
  picture. The row `test images` has the same of pixels. Images without labels have neither;
- `kl.png`: the KL by update, of the first seed.

Runs lie in `DIR/ROW-seed_SEED`, with what was found of each beside it in `ROW-seed_SEED.json`. The
same command goes on where it was killed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program, side_by_side
from gm_jax import command_line, sweep
from gm_jax.data.dataset import Dataset
from gm_jax.evaluation.image_sets import subset
from gm_jax.evaluation.latent_information import latent_information
from gm_jax.evaluation.latents import encode
from gm_jax.evaluation.nearest_neighbours import nearest_labels
from gm_jax.evaluation.pictures import draw_reconstructions
from gm_jax.images import save_png
from gm_jax.reporting.curves import read_curves
from gm_jax.training.run import Run, load_split, open_run
from gm_jax.training.workdir import write_atomically

MOST = {"train": 4_000, "test": 1_000}  # images of the classifiers
RECONSTRUCTED, SAMPLES, DRAWS = 200, 64, 8
# {variant: nats under which, or near which, a layer's KL is kept}
NATS = {"digits": 8.0, "fashion_mnist": 12.0, "photos": 24.0, "cifar10": 64.0, "smoke": 1.0}
# {variant: scales and blocks of a decoder with a whole view}; others have 3 and 1
SCALES = {"digits": (1, 2), "smoke": (1, 1)}
# {variant: channels of latents at each resolution below the top}; others have (0, 4)
TWO_LEVELS = {"cifar10": (0, 0, 16), "smoke": (2,)}
ROWS = (
    *("whole", "warm_up", "free_bits", "soft_free_bits"),
    *("window_4x7", "window_2x5", "window_1x3", "window_0x2"),
    *("levels_whole", "levels_1x3"),
    *("agave_1", "agave_2", "agave_4", "agave_8"),
)


def fields_of(row: str, variant: str, steps: int) -> dict[str, Any]:
    """What a row changes in `configs/pixel_vae.py`."""
    scales, blocks = SCALES.get(variant, (3, 1))
    kind, _, view = row.partition("_")
    fields: dict[str, Any] = {"model.free_bits": 0.0, "model.soft_free_bits": 0.0}
    fields["model.kl_annealing_steps"] = 0
    if kind == "levels":
        fields["model.map_latents"] = TWO_LEVELS.get(variant, (0, 4))
    if "x" in view:
        rows, columns = map(int, view.split("x"))
        return fields | {"model.window": (rows, columns), "model.pixelcnn.num_scales": 1}
    fields |= {"model.window": ()}
    fields |= {"model.pixelcnn.num_scales": scales, "model.pixelcnn.num_blocks": blocks}
    if row in ("warm_up", "levels_whole"):
        fields["model.kl_annealing_steps"] = max(steps // 3, 1)
    if row in ("free_bits", "soft_free_bits"):
        fields[f"model.{row}"] = NATS[variant]
    return fields


def config_of(row: str, variant: str, steps: int, seed: int) -> ConfigDict:
    """The config of a row."""
    base = program.load_config("pixel_vae", variant, steps)
    shared = {"seed": seed, "model.ema_decay": 0.0, "train.evaluate_every_steps": steps}
    if not row.startswith("agave"):
        one_level = {"model.map_latents": (0,) * len(base.model.map_latents)}
        return sweep.with_fields(base, {**one_level, **fields_of(row, variant, steps), **shared})
    agave = program.load_config("agave", variant, steps)
    shared |= {f"data.{name}": value for name, value in base.data.items()}
    shared |= {"sample.sampler": "fixed_point"}
    return sweep.with_fields(agave, {"model.kl_weight": float(row[6:]), **shared})


def part(run: Run, split: str) -> Dataset:
    """Examples of a split, at random."""
    dataset = run.dataset(split)
    return dataset.chosen(subset(len(dataset), MOST[split], seed=0))


def mean_codes(run: Run, variables: dict[str, Any], dataset: Dataset) -> np.ndarray:
    """The mean of DRAWS draws from each posterior, all layers in one vector, [N, Z]."""
    draws = [jax.tree.leaves(encode(run, variables, dataset, seed)) for seed in range(DRAWS)]
    flat = [np.mean(layer, 0).reshape(len(dataset), -1) for layer in zip(*draws, strict=True)]
    return np.concatenate(flat, 1)


def linear_accuracy(codes: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> float:
    """The share of test codes [N, D] that a linear classifier of the training codes gets right."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    flat = {split: each.reshape(len(each), -1) for split, each in codes.items()}
    classifier.fit(flat["train"], labels["train"])
    return float(classifier.score(flat["test"], labels["test"]))


def labelled(parts: dict[str, Dataset]) -> dict[str, np.ndarray]:
    """The labels of each part; {} if there are none."""
    return (
        {} if parts["train"].labels is None else {s: np.asarray(d.labels) for s, d in parts.items()}
    )


def judged(run: Run, variables: dict[str, Any], scores: dict[str, Any]) -> dict[str, float]:
    """The row of one run."""
    values = np.prod(run.method.image_shape) * np.log(2)
    information = latent_information(run, variables, SAMPLES)
    found = {
        "bits_per_dim": scores["bits_per_dim"],
        "kl": float(scores["kl"] * values),
        "information_lower": information["lower"],
        "information_upper": information["upper"],
    }
    parts = {split: part(run, split) for split in MOST}
    labels = labelled(parts)
    if not labels:
        return found
    codes = {split: mean_codes(run, variables, each) for split, each in parts.items()}
    found["linear_accuracy"] = linear_accuracy(codes, labels)
    few = parts["test"].first(RECONSTRUCTED)
    for name, pictures in draw_reconstructions(run, variables, few, 1).items():
        nearest = nearest_labels(pictures, parts["train"].images, labels["train"])
        found[f"{name}_recognised"] = float((nearest == few.labels).mean())
    return found


def pixels_of(config: ConfigDict) -> dict[str, float]:
    """What the row `test images` says of the images themselves."""
    whole = {split: load_split(config.data, split) for split in MOST}
    parts = {split: d.chosen(subset(len(d), MOST[split], seed=0)) for split, d in whole.items()}
    labels = labelled(parts)
    if not labels:
        return {}
    images = {split: np.asarray(each.images) for split, each in parts.items()}
    nearest = nearest_labels(images["test"][:RECONSTRUCTED], images["train"], labels["train"])
    return {
        "linear_accuracy": linear_accuracy(images, labels),
        "image_recognised": float((nearest == labels["test"][:RECONSTRUCTED]).mean()),
    }


def kept(folder: Path, name: str, config: ConfigDict, scores: dict[str, Any]) -> dict[str, float]:
    """What `judged` finds of a run, from its file if that is of the same step."""
    path = folder / f"{name}.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known.pop("step") == scores["step"]:
            return known
    run = open_run(config, folder / name)
    found = judged(run, run.restore("best")[0], scores)
    write_atomically(path, json.dumps({"step": scores["step"], **found}))
    return found


def compare(
    rows: list[str], variant: str, steps: int, seeds: list[int], folder: Path
) -> list[dict]:
    """Trains what is missing; writes and returns the table, and writes the picture."""
    configs = {
        f"{row}-seed_{seed}": config_of(row, variant, steps, seed) for row in rows for seed in seeds
    }
    scores = program.train_all(configs, folder)
    table: list[dict[str, Any]] = []
    with command_line.refusals():
        for row in rows:
            names = [f"{row}-seed_{seed}" for seed in seeds]
            found = [kept(folder, name, configs[name], scores[name]) for name in names]
            line: dict[str, Any] = {"row": row, "seeds": len(seeds)}
            for score in found[0]:
                line |= program.mean_and_range(score, [each[score] for each in found])
            table.append(line)
        pixels = pixels_of(next(iter(configs.values())))
    table.append({"row": "test images", **pixels})
    program.write_csv(folder / "table.csv", table)
    (folder / "table.md").write_text(program.markdown(program.with_ranges(table)), encoding="utf-8")
    curves = {row: {"kl": read_curves(folder / f"{row}-seed_{seeds[0]}")["kl"]} for row in rows}
    picture = side_by_side.overlay_curves(curves)
    assert picture is not None  # every run logs its KL
    save_png(folder / "kl.png", picture)
    return table


def main(_: list[str]) -> None:
    """Reads the flags."""
    options = flags.FLAGS
    compare(
        options.rows, options.variant, options.steps, options.seeds, Path(options.output).resolve()
    )


if __name__ == "__main__":
    flags.DEFINE_enum("variant", "digits", [*NATS], "Variant of the pages of PixelVAE and AGAVE.")
    flags.DEFINE_list("rows", list(ROWS), "Rows of the table.")
    flags.DEFINE_integer("steps", 1_500, "Updates of each training.", 1)
    program.define_seeds("0,1,2", "A run for each.")
    flags.DEFINE_string("output", "runs/latents-who_uses_them", "Folder for runs and results.")
    flags.register_validator(
        "rows",
        lambda rows: rows and len({*rows}) == len(rows) and {*rows} <= {*ROWS},
        f"give some of {', '.join(ROWS)}, each once",
    )
    program.run(main)
