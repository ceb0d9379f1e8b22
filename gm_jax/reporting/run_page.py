"""`--mode=report`: everything that a run is known by, on one page."""

from collections.abc import Sequence

import jax
from etils import epath

from gm_jax.evaluation import drawing, report
from gm_jax.evaluation.drawing import picture_path
from gm_jax.evaluation.numbers import chosen, on_record
from gm_jax.reporting import page
from gm_jax.reporting.curves import Curves, chart, read_curves
from gm_jax.training import workdir as workdirs
from gm_jax.training.progress import say
from gm_jax.training.run import Run

FILE_NAME = "report.html"
VALIDATION, LOSSES = "Validation", "Losses of the players"
NORMS, OTHERS = "Norms of gradients and updates", "Other curves of training"
_COLOUR = "#d55e00"


def write_page(run: Run, command: Sequence[str] = ()) -> None:
    """Writes `report.html`, and draws those pictures of the best checkpoint that are missing.

    Args:
      run: the run.
      command: the arguments of the command line that give its config, to repeat what was measured.
    """
    restored = run.restore("best")
    step = restored[1]
    report.draw_missing(run, step, restored)
    pictures = _pictures(run, step, restored)
    if jax.process_index() != 0:
        return
    config, source = run.config, run.train_data
    about = (
        f"Step {step} of {config.train.steps}, {chosen(run)}; trained on {len(source)} "
        f"examples of {source.name}, {source.split}. Work directory: {run.workdir.name}"
    )
    curves = grouped(read_curves(run.workdir))
    sections = [
        ("Numbers", _numbers(run, command)),
        (VALIDATION, curves.pop(VALIDATION)),
        *pictures.items(),
        *curves.items(),
        ("Config", page.config(config.to_dict())),
    ]
    text = page.page(f"{config.method}, {config.variant}", about, sections)
    path = run.output / FILE_NAME
    workdirs.write_atomically(path, text)
    print(f"the run on one page ({len(text) / 1e6:.1f} MB): {path}")


def grouped(curves: Curves) -> dict[str, str]:
    """{heading: charts} of a run's curves."""
    groups: dict[str, list[str]] = {heading: [] for heading in (VALIDATION, LOSSES, NORMS, OTHERS)}
    for name, curve in sorted(curves.items()):
        last = name.rpartition("/")[2]
        training = LOSSES if last == "loss" else NORMS if last.endswith("_norm") else OTHERS
        heading = VALIDATION if name.startswith("validation/") else training
        groups[heading].append(chart(name, {"": curve}, {"": _COLOUR}))
    return {heading: page.charts(drawn) for heading, drawn in groups.items()}


def _numbers(run: Run, command: Sequence[str]) -> str:
    found = on_record(run.workdir)
    if not found:
        return page.note("None is on record; --mode=evaluate measures.")
    given = " ".join([*(command or ["--config=PAGE"]), "--workdir=WORKDIR"])
    rows = [(n.metric, n.text, n.settings, n.flags) for n in found]
    text = page.table(("metric", "value", "it depends on", "command: … and"), rows)
    return text + page.note(f"… is python experiments/main.py {given}")


def _pictures(run: Run, step: int, restored: drawing.Restored) -> dict[str, str]:
    """{heading: pictures}, which are drawn before; interpolations are drawn here."""
    captions = {
        "sample": ("Samples", "samples, those on the way above the image where there are any"),
        "reconstruct": ("Reconstructions", "test images, with their reconstructions below"),
        "translate": ("Translations", "test examples, translated, and back again"),
    }
    found = {
        heading: page.picture(picture_path(run, mode, step), caption)
        for mode, (heading, caption) in captions.items()
        if mode in run.method.capabilities and jax.process_index() == 0
    }
    if "reconstruct" in run.method.capabilities and "image" in run.train_data.fields:
        path = picture_path(run, "interpolate", step)
        try:
            if not path.exists():
                drawing.interpolate(run, restored)
        except ValueError as error:  # too few images, or latents without a path between them
            say(f"no interpolations: {error}")
            return found
        if jax.process_index() == 0:
            found["Interpolations"] = _ways(path)
    return found


def _ways(path: epath.Path) -> str:
    moving = page.picture(path.with_suffix(".gif"), "the same ways, animated")
    return page.picture(path, "from one test image to another, a row for each way") + moving
