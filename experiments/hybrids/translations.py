"""CycleGAN: closed cycles and right translations are two things (Zhu et al., 2017; tutorial).

    python experiments/hybrids/translations.py [--task=TASK …] [--seeds=0,1,2] [--steps=N]
        [--output=DIR]

It trains `configs/cycle_gan.py` on pairs of domains whose right translation is known:

| TASK | from a to b | page's variant |
|---|---|---|
| colours | digits to digits in black and white: shapes stay | digits |
| shapes | digits to digits turned by a quarter: shapes must change | digits |
| shapes_free | the same without the identity term, which prefers no change | digits |
| blobs | three Gaussians, turned by 30 degrees | blobs |
| blobs_free | the same without the identity term | blobs |

On digits a training has 500 steps, a quarter of the page's, unless `--steps` says otherwise.
`shapes` is the failure of the tutorial: translations change colours and textures, and not geometry.
The domains have no example in common. In the output folder lie then

- `translations.csv`, a row a task: mean and range over the seeds of the scores of `test.json`,
  each a mean of both directions: `cycle_error`; `told_apart`, ½ where translations are like their
  domain; `correct`, the share that keep their class; `correct_if_renamed`, which lets the map
  permute the classes; and `judge`, the judge on the domain's own examples;
- `translations.md`: the same for people, and each seed's `correct`; `TASK.png`: the first seed.

Runs lie in `DIR/TASK-seed_SEED`; the same command goes on where it was killed.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from etils import epath
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import data, sweep
from gm_jax.training.workdir import write_npz

FREE = {"model.identity_weight": 0.0}
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "colours": ("digits", {}),
    "shapes": ("digits", {}),
    "shapes_free": ("digits", FREE),
    "blobs": ("blobs", {}),
    "blobs_free": ("blobs", FREE),
}
STEPS = {"digits": 500, "blobs": 5_000}  # the page trains digits for 2,000, a quarter of an hour
TURNED = "turned.npz"
SCORES = ("cycle_error", "told_apart", "correct", "correct_if_renamed", "judge")
ENDS = {"cycle_error": ("a", "b"), "judge": ("a", "b")}  # of the others, the directions


def write_turned(path: epath.PathLike, source: str) -> None:
    """Writes a source's images turned left by 90 degrees, with its splits and labels."""
    splits = [data.load(source, split) for split in ("train", "validation", "test")]
    for each in splits:
        if each.images is None or each.labels is None or each.image_shape[0] != each.image_shape[1]:
            raise ValueError(f"{source}: give square images with labels")
    write_npz(
        path,
        {
            "image": np.concatenate([np.rot90(each.images, axes=(1, 2)) for each in splits]),
            "label": np.concatenate([each.labels for each in splits]),
            "split": np.repeat([each.split for each in splits], [len(each) for each in splits]),
            "levels": splits[0].levels,
        },
    )


def config_of(task: str, seed: int, steps: int | None, folder: Path) -> ConfigDict:
    """The page's config of a task; the rate falls over the second half of any steps."""
    variant, fields = TASKS[task]
    steps = steps or STEPS[variant]
    config = program.load_page(f"cycle_gan.py:{variant}")
    fields = fields | {"seed": seed, "train.steps": steps}
    fields["optimizer.linear_decay_start"] = steps // 2
    fields["optimizer.linear_decay_steps"] = steps
    if task.startswith("shapes"):
        halves = config.data.train_split.partition(" of ")[0]
        fields["data.source"] = f"pair:digits|npz:{(folder / TURNED).absolute()}"
        fields["data.train_split"] = halves
    return sweep.with_fields(config, fields)


def both_directions(scores: dict[str, float]) -> dict[str, float]:
    """The scores of a `test.json`, each a mean of both directions."""
    found = {}
    for name in SCORES:
        ends = ENDS.get(name, ("a_to_b", "b_to_a"))
        found[name] = float(np.mean([scores[f"{name}_{end}"] for end in ends]))
    return found


def main(_: list[str]) -> None:
    """Trains what is missing, and writes the tables and the pictures."""
    options, folder = flags.FLAGS, Path(flags.FLAGS.output)
    tasks = options.task or [*TASKS]
    if any(task.startswith("shapes") for task in tasks) and not (folder / TURNED).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_turned(folder / TURNED, "digits")
    configs = {
        task: {seed: config_of(task, int(seed), options.steps, folder) for seed in options.seeds}
        for task in tasks
    }
    rows = []
    for task, of_seeds in configs.items():
        runs = {f"{task}-seed_{seed}": config for seed, config in of_seeds.items()}
        found = [both_directions(each) for each in program.train_all(runs, folder).values()]
        row: dict[str, Any] = {"task": task, "seeds": len(found)}
        for name in SCORES:
            row |= program.mean_and_range(name, [each[name] for each in found])
        row["correct of each seed"] = " ".join(f"{each['correct']:.2f}" for each in found)
        rows.append(row)
        (picture,) = (folder / next(iter(runs)) / "translations").glob("best_step_*.png")
        shutil.copy(picture, folder / f"{task}.png")
    program.write_csv(folder / "translations.csv", rows)
    text = program.markdown(program.with_ranges(rows))
    (folder / "translations.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    flags.DEFINE_multi_enum("task", [], list(TASKS), "Repeatable. None: all of them.")
    program.define_seeds("0,1,2", "A run for each.")
    flags.DEFINE_integer("steps", None, "Steps of each training; 500 on digits, 5,000 on blobs.", 1)
    flags.DEFINE_string("output", "runs/hybrids-translations", "Folder for runs and results.")
    program.run(main)
