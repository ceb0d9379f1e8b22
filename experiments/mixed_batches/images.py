"""GANs of mixed batches and their rivals on images (thesis, fig. 4.6 and Table 4.1, in small).

    python experiments/mixed_batches/images.py --features=classifier:RUN [--variant=digits]
        [--model=MODEL …] [--set=FIELD=VALUE …] [--seeds=0,1,2] [--steps=250,500,1000]
        [--output=DIR]

It trains models of `configs/mixed_batch_gan.py` and judges them after each of `--steps`, by the
features of a classifier that `configs/classifier.py` trained on the same data: Inception score
(IS-C), Fréchet distance (FD-C), recall (F_8) and precision (F_1/8). `--set` changes a field of all
runs, such as `--set=data.source=idx:FOLDER`. In the output folder lie then

- `scores.csv`, a row a model and step: each score's mean and range over the seeds;
- `curves.png`, the scores by step (fig. 4.6), and `samples.png`, the first seed's.

A run lies in `DIR/MODEL-seed_SEED`; the same command goes on where it was killed. The thesis's size
is `--variant=cifar10 --steps=200000 --features=inception` (not run here).
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from experiments.side_by_side import overlay_curves
from gm_jax import command_line, load, sweep
from gm_jax.evaluation.battery import evaluate
from gm_jax.evaluation.records import read_results
from gm_jax.evaluation.request import Request
from gm_jax.images import save_png
from gm_jax.training.run import open_run

# Those of fig. 4.6 and Table 4.1, and the plain GAN.
MODELS = ["gan", "wgp", "gp", "sn", "minibatch_discrimination", "bgan_pure", "bgan", "m_bgan"]
METRICS = ("is", "fid", "prd")
# {name of a number: as the table has it}; F_8 weighs recall, F_1/8 precision.
SCORES = {"is": "IS", "is_c": "IS-C", "fid": "FID", "fd_c": "FD-C", "f_8": "F_8", "f_1/8": "F_1/8"}
NUM_SCORES = 4  # of one network of features
COLUMNS = 10  # of the picture


def config_of(model: str, seed: int, options: Any) -> ConfigDict:
    """The page's config of a model with the fields that are set."""
    config = program.load_page(f"mixed_batch_gan.py:{model},{options.variant}")
    with command_line.refusals():
        grids = sweep.parse_grids(config, options.set)
    several = [name for name, values in grids.items() if len(values) != 1]
    if several:
        program.refuse(f"--set={several[0]}=…: give one value")
    fields = {name: values[0] for name, values in grids.items()}
    return sweep.with_fields(config, fields | {"seed": seed})


def judged(config: ConfigDict, workdir: Path, options: Any) -> dict[int, dict[str, float]]:
    """Trains a run to each of `--steps` and judges it there, {step: {score: value}}."""
    steps = sorted(options.steps)
    for step in steps:
        # Samples are those of the latest step: none is judged after a later one was trained.
        if step not in scores_of(workdir, options):
            known = {"train.steps": step, "train.evaluate_every_steps": steps[0]}
            longer = sweep.with_fields(config, known)
            program.train(longer, workdir)
            request = Request(METRICS, options.num_samples, features=options.features)
            with command_line.refusals():
                missing = evaluate(open_run(longer, str(workdir)), request)
            if missing:
                program.refuse(f"{workdir} is not judged: {missing}")
    return {step: scores_of(workdir, options)[step] for step in steps}


def scores_of(workdir: Path, options: Any) -> dict[int, dict[str, float]]:
    """What a run scored by `--features` at the steps where every metric is known."""
    kind, colon, path = options.features.partition(":")
    network = f"{kind}{colon}{Path(path).name}" if colon else kind
    found: dict[int, dict[str, float]] = {}
    for result in read_results(workdir):
        identity = result["identity"]
        asked = (identity["features"]["name"], identity["samples"]["num_images"])
        if asked != (network, options.num_samples):
            continue
        step = identity["samples"]["model"]["step"]
        scores = {SCORES[name]: value for name, value in result["values"].items() if name in SCORES}
        found.setdefault(step, {}).update(scores)
    return {step: scores for step, scores in found.items() if len(scores) == NUM_SCORES}


def main(_: list[str]) -> None:
    """Trains and judges what is missing, and writes the table and the pictures."""
    options, folder = flags.FLAGS, Path(flags.FLAGS.output)
    rows, curves, pictures = [], {}, {}
    for model in options.model or MODELS:
        runs = [
            judged(config_of(model, seed, options), folder / f"{model}-seed_{seed}", options)
            for seed in options.seeds
        ]
        of_model = []
        for step in runs[0]:
            row = {"model": model, "step": step, "seeds": len(runs)}
            for score in runs[0][step]:
                row |= program.mean_and_range(score, [run[step][score] for run in runs])
            of_model.append(row)
        curves[model] = {
            score: [(row["step"], row[score]) for row in of_model] for score in runs[0][step]
        }
        rows += of_model
        trained = load.load(folder / f"{model}-seed_{options.seeds[0]}")
        pictures[model] = trained.sample(COLUMNS)["image"]
    program.write_csv(folder / "scores.csv", rows)
    save_png(folder / "curves.png", overlay_curves(curves))
    program.save_rows(folder / "samples.png", pictures, trained.levels)


if __name__ == "__main__":
    flags.DEFINE_string("variant", "digits", "The data of the page.")
    flags.DEFINE_string("features", "inception", "What judges: classifier:RUN or inception.")
    flags.DEFINE_multi_string("model", [], "Models of the page; repeatable. None: those above.")
    flags.DEFINE_multi_string("set", [], "FIELD=VALUE of all configs; repeatable.")
    program.define_seeds("0,1,2", "A run for each.")
    program.define_whole_numbers("steps", "250,500,1000", "Updates of G after which it is judged.")
    flags.DEFINE_integer("num_samples", 1_000, "Samples that are judged.", lower_bound=2)
    flags.DEFINE_string("output", "runs/mixed_batches-images", "Folder for results.")
    program.run(main)
