"""α-GAN against its rivals over sweeps of their settings (Rosca et al., 2017, section 6).

    python experiments/alpha_gan/sweep.py [--model=MODEL …] [--settings=12] [--data=colored_digits]
        [--classifier=WORKDIR --classifier=WORKDIR] [--steps=N] [--jobs=2] [--paper] [--output=DIR]

Each MODEL (alpha_gan, age, dcgan, dcgan_once, wgan_gp; all by default) is trained in `--settings`
settings drawn by `--seed` from the grids of Table 2, H.1 and H.4.1 (`settings.py`). On digits in
colour the networks are half as wide as the page's and are trained for 800 steps. `--paper` takes
whole grids and the page's own widths and steps; `--data=color_mnist` and so on choose the data (not
run here; on a GPU, which the judge and the runs share, set XLA_PYTHON_CLIENT_PREALLOCATE=false).
Each run is judged (`judge.py`) by an independent critic that sees samples from half-way through the
training on, by the inception scores of two classifiers and by diversity. Without
`--classifier`, two runs of `configs/classifier.py` with different networks are trained on the same
digits; the paper's two were trained on different data. `--classifier=inception` is also known.

Runs are trained as by `experiments/sweep.py`: killed at any moment, the same command goes on, and
keeps what is finished and judged. In the output folder lie then

- `runs.csv`, a row a run; `quartiles.csv`, a row a model and measure; `references.csv`, the
  measures of training images, of test images, and of these with noise;
- `sweep.md`: these tables, and the claims with what came out;
- `critic.png`, `is_1.png`, `is_2.png`, `diversity.png`: box plots with all runs as rings, of which
  the best ten are black (figs 2, 5);
- `curves.png`: the critic's curves of α-GAN's runs on validation and test images (fig. 13);
- `critic_diversity.png`: these two of all runs (fig. 15); `scores.png`: the two inception scores;
- `best.png`: samples of α-GAN's best run by each measure (fig. 14); `models.png`: of each model's
  best run by the critic (fig. 3).
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from configs import alpha_gan, classifier
from experiments import program
from experiments import sweep as runs
from experiments.alpha_gan import claims, figures, judge, settings, verdicts
from experiments.side_by_side import newest_grid, overlay_curves
from gm_jax import command_line, sweep
from gm_jax.evaluation.feature_networks import open_network
from gm_jax.images import save_png
from gm_jax.session import use_compilation_cache
from gm_jax.training.run import open_run

MEASURES = ("critic", "is_1", "is_2", "diversity")
COLUMNS = 12  # of the pictures
# Classifiers that this program trains itself: the page's variant by data.
CLASSIFIERS = {"colored_digits": "digits", "smoke": "smoke"}
OTHER = {"model.layers": ((16, 1), (32, 2), (32, 2))}  # of the second one, which has seed 1


def of_classifiers(data: str) -> tuple[str, dict[str, sweep.Member]]:
    """The page and the runs of the classifiers for a data set of the sweep."""
    variant = CLASSIFIERS[data]
    ours = alpha_gan.get_config(f"dcgan,{data}").data
    names = ("source", "train_split", "validation_split", "test_split")
    shared = {f"data.{name}": ours[name] for name in names}
    members = {}
    for seed, fields in enumerate((shared, shared | OTHER)):
        config = sweep.with_fields(classifier.get_config(variant), {**fields, "seed": seed})
        members[f"classifier_{seed + 1}"] = sweep.Member(fields, seed, config)
    return f"classifier.py:{variant}", members


def check_classifiers(data: str, given: Sequence[str]) -> None:
    """Refuses a single classifier, and none for data that this program trains none for."""
    if len(given) == 1 or not (given or data in CLASSIFIERS):
        program.refuse(
            f"--data={data}, --classifier={','.join(given)}: give two classifiers of its images, "
            "--classifier=WORKDIR twice (configs/classifier.py trains them); "
            f"{' and '.join(CLASSIFIERS)} need none"
        )


def train(
    chosen: Mapping[str, settings.Setting], options: Any, folder: Path
) -> tuple[list[str], list[str]]:
    """Trains what is missing; returns the names of features that classify, and of failed runs."""
    kept = f"--num_samples={options.num_samples}"
    members = {name: setting.member for name, setting in chosen.items()}
    commands = {
        name: settings.command(
            "alpha_gan/train.py", f"alpha_gan.py:{setting.page}", setting.member, kept
        )
        for name, setting in chosen.items()
    }
    given = list(options.classifier)
    if given:
        name, member = next(iter(members.items()))
        with command_line.refusals():  # before anything is trained
            run = open_run(member.config, folder / name)
            for classifies in map(feature_name, given):
                open_network(classifies, run, None, "tf1")
    else:
        page, trained = of_classifiers(options.data)
        members = trained | members  # the quick ones first
        commands |= {name: settings.command("main.py", page, one) for name, one in trained.items()}
        given = [str(folder / name) for name in trained]
    with command_line.refusals():
        sweep.check({name: member.config for name, member in members.items()}, folder)
    commands = {name: [*words, f"--workdir={folder / name}"] for name, words in commands.items()}
    failed = runs.train_all(members, commands, folder, options.jobs)
    return list(map(feature_name, given)), failed


def feature_name(given: str) -> str:
    """The name of a feature network for a value of `--classifier`."""
    return given if given == "inception" else f"classifier:{given}"


def judge_all(
    chosen: Mapping[str, settings.Setting], classifiers: Sequence[str], options: Any, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """A row a finished run, and the references."""
    with command_line.refusals():
        first = next(iter(chosen))
        run = open_run(chosen[first].member.config, folder / first)
        judging = judge.Judge(run, classifiers, options.num_samples, options.critic_steps)
        rows = []
        for number, (name, (model, point, _, member)) in enumerate(chosen.items(), 1):
            scores = judging.judged(member.config, folder / name)
            tested = json.loads((folder / name / "test.json").read_text())
            if "reconstruction_error" in tested:  # of models that encode
                scores["reconstruction_error"] = tested["reconstruction_error"]
            rows.append({"model": model, "name": name, "point": point, **scores})
            print(f"{number}/{len(chosen)} judged: {name}", file=sys.stderr)
        return rows, judging.references(folder)


def tabulate(
    rows: Sequence[Mapping[str, Any]], references: Mapping[str, Mapping[str, float]], folder: Path
) -> None:
    """Writes the tables and the claims."""
    flat = [
        {**{k: v for k, v in row.items() if k != "point"}, **_text(row["point"])} for row in rows
    ]
    program.write_csv(folder / "runs.csv", flat)
    spans = [
        {"model": model, "measure": name, "runs": len(values), **claims.quartiles(values)}
        for model in dict.fromkeys(row["model"] for row in rows)
        for name in (*MEASURES, "critic_validation", "reconstruction_error")
        if (values := claims.column(rows, name, model))
    ]
    program.write_csv(folder / "quartiles.csv", spans)
    others = [{"images": name, **scores} for name, scores in references.items()]
    program.write_csv(folder / "references.csv", others)
    tables = [verdicts.of_sweep(rows, references), spans, others]
    (folder / "sweep.md").write_text("\n".join(map(program.markdown, tables)), encoding="utf-8")


def _text(point: Mapping[str, float]) -> dict[str, str]:
    return {axis: sweep.as_text(value) for axis, value in point.items()}


def draw(
    rows: Sequence[Mapping[str, Any]], references: Mapping[str, Mapping[str, float]], folder: Path
) -> None:
    """Writes the figures."""
    models = dict.fromkeys(row["model"] for row in rows)
    for name in MEASURES:
        groups = {model: claims.column(rows, name, model) for model in models}
        shown = ["training images" if name == "critic" else "test images"]
        if name == "diversity":
            shown += [images for images in references if "noise" in images]
        lines = {images.removesuffix(" images"): references[images][name] for images in shown}
        target = references["test images"]["diversity"] if name == "diversity" else None
        save_png(folder / f"{name}.png", figures.box_plot(name, groups, lines, target))
    for file, across, up in (
        ("critic_diversity", "diversity", "critic"),
        ("scores", "is_1", "is_2"),
    ):
        of = {
            model: (claims.column(rows, across, model), claims.column(rows, up, model))
            for model in models
        }
        save_png(folder / f"{file}.png", figures.plane(f"{up} by {across}", across, of))
    first = "alpha_gan" if "alpha_gan" in models else next(iter(models))
    ours = [row for row in rows if row["model"] == first]
    curves = overlay_curves({row["name"]: judge.curves(folder / row["name"]) for row in ours})
    if curves is not None:
        save_png(folder / "curves.png", curves)
    target = references["test images"]["diversity"]
    best = {
        name: claims.best(
            claims.column(ours, name), target if name == "diversity" else None, count=1
        )
        for name in MEASURES
    }
    picture(folder, "best", {name: ours[places[0]]["name"] for name, places in best.items()})
    chosen = {}
    for model in models:
        of_model = [row for row in rows if row["model"] == model]
        place = claims.best(claims.column(of_model, "critic"), count=1)[0]
        chosen[model] = of_model[place]["name"]
    picture(folder, "models", chosen)


def picture(folder: Path, name: str, chosen: Mapping[str, str]) -> None:
    """Writes a row of samples for each {label: run}."""
    shown, levels = {}, 0
    for label, run in chosen.items():
        grid = newest_grid(str(folder / run))
        assert grid is not None  # a finished run has drawn samples
        with grid.with_suffix(".npz").open("rb") as file, np.load(file) as drawn:
            shown[f"{label}: {run}"] = drawn["image"][:COLUMNS]
            levels = int(drawn["levels"])
    program.save_rows(folder / f"{name}.png", shown, levels)


def main(_: list[str]) -> int:
    """Reads the flags; returns the exit status."""
    options = flags.FLAGS
    check_classifiers(options.data, options.classifier)
    runs.end_with_runs()
    command_line.set_verbosity()
    folder = Path(options.output)
    chosen: dict[str, settings.Setting] = {}
    count = None if options.paper else options.settings
    for model in options.model or settings.MODELS:
        chosen |= settings.create(
            model, options.data, count, options.seed, options.steps, options.paper
        )
    if not options.paper:
        jax.config.update("jax_platforms", "cpu")  # accelerators are for the runs
    use_compilation_cache()
    classifiers, failed = train(chosen, options, folder)
    finished = {name: setting for name, setting in chosen.items() if name not in failed}
    if not finished:
        program.refuse(f"no run is finished; {folder / 'logs'} says why")
    rows, references = judge_all(finished, classifiers, options, folder)
    tabulate(rows, references, folder)
    draw(rows, references, folder)
    print((folder / "sweep.md").read_text(encoding="utf-8"))
    return 1 if failed else 0


if __name__ == "__main__":
    flags.DEFINE_multi_enum("model", [], settings.MODELS, "Repeatable; none: all of them.")
    flags.DEFINE_integer("settings", 12, "Settings of each model.", 1)
    flags.DEFINE_enum("data", "colored_digits", list(alpha_gan.DATA), "Data of the page.")
    flags.DEFINE_multi_string("classifier", [], "Runs of configs/classifier.py; two or more.")
    flags.DEFINE_integer("steps", None, "Steps of each training; as above by default.", 1)
    flags.DEFINE_integer("num_samples", 1_000, "Samples to judge of each run.", 2)
    flags.DEFINE_integer("critic_steps", 150, "Updates of the independent critic.", 1)
    flags.DEFINE_integer("seed", 0, "Of the draw of settings, and of the runs.", 0)
    flags.DEFINE_integer("jobs", 2, "Runs that are trained at the same time.", 1)
    flags.DEFINE_bool("paper", False, "Whole grids, at the page's own size.")
    flags.DEFINE_string("output", "runs/alpha_gan-sweep", "Folder for runs, tables and pictures.")
    program.run(main)
