"""Trains a config page at every point of a grid, with several seeds, and tabulates the scores.

    python experiments/sweep.py --config=configs/agave.py:digits
        --grid=model.kl_weight=1,2,4 [--grid=model.auxiliary.levels=2,4 …]
        [--seeds=0,1,2] [--jobs=N] [--output=DIR] [--config.FIELD=VALUE …]

The runs are the Cartesian product of all grids and the seeds. A grid's values are divided by commas
and read in the type of the field (number, text, True or False); values that have commas of their
own are given as a list in Python's notation: `--grid='model.widths=[(1, 2), (3, 4)]'`. An unknown
field or a config that a method refuses ends the command before anything is trained.

Every run is a call of `experiments/main.py` in `DIR/<fields>-seed_<seed>`, N of them at a time, and
writes what it prints to `DIR/logs`. A run that fails does not stop the others: its command and the
end of its log are printed, and the exit status is 1. Kill the sweep at any moment and give the same
command again: finished runs are kept, the others go on. (After `kill -9` wait for the runs that
were being trained: they live on.) On an accelerator, which one process takes whole, keep --jobs=1.

In DIR lie then

- `table.csv` and `table.md`, a row a grid point: the mean over the seeds and the range of every
  score in the runs' `test.json`, and the number of seeds that are finished;
- `samples.png`, a row a grid point: samples of the first seed that is finished;
- `curve.png`, where the one grid is of numbers: bits/dim by value, mean and range.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from experiments import program
from experiments.side_by_side import newest_grid
from gm_jax import command_line, sweep
from gm_jax.images import save_png, spread
from gm_jax.training.progress import Lines

COLUMNS = 10  # of the picture
TAIL = 15  # lines of a log that are shown
SIZE, MARGIN = (640, 400), 70  # of the curve, pixels


def train(commands: Mapping[str, Sequence[str]], logs: Path, jobs: int) -> Iterator[str]:
    """Runs commands, `jobs` at a time, and yields the name of each when it has ended.

    Those that still run when the caller ends are asked to save and end, too.

    Args:
      commands: {name: arguments}.
      logs: folder; what a command prints goes to `<name>.log` in it.
      jobs: how many run at the same time.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running = list(commands), {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                with (logs / f"{name}.log").open("w") as log:
                    # In a session of its own, it hears of Ctrl-C from this process alone.
                    running[name] = subprocess.Popen(
                        commands[name], stdout=log, stderr=log, start_new_session=True
                    )
            for name in [name for name, process in running.items() if process.poll() is not None]:
                del running[name]
                yield name
            time.sleep(0.1)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def train_all(
    members: Mapping[str, sweep.Member],
    commands: Mapping[str, Sequence[str]],
    folder: Path,
    jobs: int,
) -> list[str]:
    """Trains the runs that are not finished; returns the names of those that then are not either.

    Args:
      members: the runs that `sweep.product` returned.
      commands: {name: the command that trains it}.
      folder: the folder of the sweep.
      jobs: how many run at the same time.
    """
    left = {
        name: commands[name]
        for name, member in members.items()
        if not sweep.is_finished(member.config, folder / name)
    }
    print(f"{folder}: {len(members)} runs, {len(left)} of them to train", file=sys.stderr)
    failed = []
    ended = train(left, folder / "logs", jobs)
    with contextlib.closing(ended), Lines("training", len(left), " runs") as shown:
        for name in ended:
            shown.update(1)
            finished = sweep.is_finished(members[name].config, folder / name)
            print(f"{name}: {'finished' if finished else 'FAILED'}", file=sys.stderr)
            if not finished:
                failed.append(name)
                lines = (folder / "logs" / f"{name}.log").read_text(errors="replace").splitlines()
                print(shlex.join(commands[name]), *lines[-TAIL:], sep="\n  ", file=sys.stderr)
    return failed


def end_with_runs() -> None:
    """Lets a signal to end end this process by an exit, which ends the runs, too."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def picture(rows: Sequence[sweep.Row], folder: Path) -> None:
    """Writes `samples.png` of the runs that have samples, if these are of one shape."""
    shown = {}
    for row in rows:
        grid = newest_grid(str(folder / row.runs[0]))
        file = grid.with_suffix(".npz") if grid is not None else None
        if file is None or not file.exists():
            continue
        with np.load(file) as drawn:
            if {"image", "levels"} <= set(drawn):
                shown[row.runs[0]] = spread(drawn["image"][:COLUMNS], int(drawn["levels"]))
    shapes = {images.shape for images in shown.values()}
    if len(shapes) > 1:
        print(f"no picture: the samples have the shapes {sorted(shapes)}", file=sys.stderr)
    elif shapes:
        program.save_rows(folder / "samples.png", shown, levels=256)


def curve(rows: Sequence[sweep.Row]) -> np.ndarray | None:
    """Bits/dim by the value of one numeric field: means joined by lines, ranges as bars.

    Returns:
      A picture, uint8 [H, W, 3]; None where there is another number of fields, no number, no
      bits/dim, or a single value.
    """
    scored = {
        next(iter(row.fields.values())): row.scores["bits_per_dim"]
        for row in rows
        if len(row.fields) == 1 and "bits_per_dim" in row.scores
    }
    if len(scored) < 2 or any(type(value) not in (int, float) for value in scored):
        return None
    values, bits = sorted(scored), np.concatenate(list(scored.values()))
    low, high = bits.min(), bits.max() + 1e-9
    width, height = (side - 2 * MARGIN for side in SIZE)

    def place(value: float, bits: float) -> tuple[float, float]:
        right = (value - values[0]) / (values[-1] - values[0])
        return MARGIN + width * right, SIZE[1] - MARGIN - height * (bits - low) / (high - low)

    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((MARGIN, MARGIN, SIZE[0] - MARGIN, SIZE[1] - MARGIN), outline="grey")
    draw.text((MARGIN, MARGIN / 2), "bits/dim on test: mean and range over seeds", fill="black")
    for value in values:
        x, bottom = place(value, low)
        draw.text((x, bottom + 8), sweep.as_text(value), fill="black", anchor="mt")
        ends = [place(value, end) for end in (scored[value].min(), scored[value].max())]
        draw.line(ends, fill="black", width=3)
    for end in (low, high):
        draw.text((MARGIN - 6, place(values[0], end)[1]), f"{end:.4f}", fill="black", anchor="rm")
    draw.text((SIZE[0] / 2, SIZE[1] - MARGIN / 3), next(iter(rows[0].fields)), "black", anchor="ms")
    draw.line([place(value, scored[value].mean()) for value in values], fill="blue", width=2)
    return np.asarray(image)


def write(rows: Sequence[sweep.Row], folder: Path) -> None:
    """Writes the table and the pictures."""
    program.write_csv(folder / "table.csv", sweep.columns(rows))
    (folder / "table.md").write_text(sweep.markdown(rows))
    picture(rows, folder)
    drawn = curve(rows)
    if drawn is not None:
        save_png(folder / "curve.png", drawn)


def command(name: str, member: sweep.Member, folder: Path) -> list[str]:
    """What trains one run: the page and overrides of this command, its grid point and its seed."""
    given = flags.FLAGS["config"]
    fields = {**given.override_values, **member.fields, "seed": member.seed}
    return [
        sys.executable,
        os.path.relpath(program.HERE / "main.py"),
        f"--config={given.config_filename}",
        *(f"--config.{field}={sweep.as_text(value)}" for field, value in fields.items()),
        f"--workdir={folder / name}",
    ]


def main(_: list[str]) -> int:
    """Reads the flags; returns the exit status."""
    given, options = flags.FLAGS["config"], flags.FLAGS
    end_with_runs()
    command_line.set_verbosity()
    jax.config.update("jax_platforms", "cpu")  # accelerators are for the runs
    default = f"{command_line.default_workdir(given.config_filename, given.value)}-sweep"
    folder = Path(options.output or default)
    with command_line.refusals():
        grids = sweep.parse_grids(given.value, options.grid)
        members = sweep.product(given.value, grids, options.seeds)
        sweep.check({name: member.config for name, member in members.items()}, folder)
    commands = {name: command(name, member, folder) for name, member in members.items()}
    failed = train_all(members, commands, folder, options.jobs)
    rows = sweep.collect(members, folder)
    if rows:
        write(rows, folder)
    return 1 if failed else 0


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "Config file, FILE.py[:VARIANT].")
    flags.DEFINE_multi_string("grid", [], "FIELD=a,b,c; repeat it for further fields.")
    program.define_seeds("0", "Of each grid point, divided by commas.")
    flags.DEFINE_integer("jobs", 1, "Runs that are trained at the same time.", 1)
    flags.DEFINE_string("output", None, "Folder; runs/<config>-<variant>-sweep if empty.")
    flags.mark_flag_as_required("config")
    command_line.run(main)
