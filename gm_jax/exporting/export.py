"""`--mode=export`: writes a trained model into a folder of its own, and reads it again.

The folder has the config, `data.json` and `frozen.json` of a work directory, so that the model is
rebuilt from them in the same way, and parameters in place of checkpoints. `export.json` is written
last: without it there is no export.
"""

from collections.abc import Sequence
from typing import Any

import jax
from etils import epath

from gm_jax import state as train_state
from gm_jax.borders import reading
from gm_jax.exporting import card, weights
from gm_jax.exporting.programs import PLATFORMS, build
from gm_jax.training import recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.progress import say, working
from gm_jax.training.run import Run

Tree = Any
FILE_NAME = "export.json"


def check_output(output: epath.PathLike | None) -> None:
    """Refuses an export before anything is opened.

    Raises:
      ValueError: no folder is given, it is not empty, or a library is missing.
    """
    if output is None:
        raise ValueError("--mode=export writes a folder of its own: give --output=DIR")
    folder = workdirs.absolute(output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"--output={output} exists and is not empty: give a new folder")
    weights.check_libraries("safetensors", "flatbuffers")


def export(run: Run, command: Sequence[str] = ()) -> None:
    """Writes the best checkpoint's model into the empty folder `run.output`.

    Args:
      run: the run; its `elsewhere` is the folder.
      command: the arguments of the command line that give its config, for the card.
    """
    variables, step = run.restore("best")
    if jax.process_index() != 0:
        return
    folder = run.output
    with working("exporting the programs"):
        programs = build(run, variables)
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = weights.write(folder / weights.FILE_NAME, jax.device_get(variables))
    for name, program in programs.items():
        (folder / f"{name}.stablehlo").write_bytes(program.serialized)
        if program.why:
            say(f"{name}: for batches of {program.size} alone ({program.why})")
    config = run.config.copy_and_resolve_references().unlock()
    config.data.cache_dir = ""  # a place on this machine
    (folder / "config.json").write_text(workdirs.to_json(config))
    recorded.record_data(folder, run.train_data.fields, run.datasets)
    frozen = run.workdir / "frozen.json"
    if frozen.exists():
        (folder / "frozen.json").write_text(frozen.read_text())
    (folder / "README.md").write_text(card.write(run, step, programs, command))
    about = {
        "step": step,
        "sha256": {weights.FILE_NAME: sha256},
        "jax": jax.__version__,
        "platforms": PLATFORMS,
        "programs": {
            name: {"batch": program.batch, "size": program.size}
            for name, program in programs.items()
        },
    }
    workdirs.write_atomically(folder / FILE_NAME, workdirs.dumps(about, indent=2) + "\n")
    print(
        f"{run.config.method} of step {step}, with {', '.join(programs) or 'no programs'}: {folder}"
    )


def is_export(folder: epath.PathLike) -> bool:
    """Whether a folder is an export rather than a work directory."""
    return (workdirs.absolute(folder) / FILE_NAME).exists()


def read(run: Run) -> tuple[dict[str, Tree], int]:
    """The variables and the step of an export, opened by `open_trained`.

    Raises:
      ValueError: safetensors is not installed; or a file is damaged, or of another model.
    """
    path = run.workdir / FILE_NAME
    about = workdirs.read_json(path)
    with reading(f"{path} is damaged and", "copy the export anew"):
        step, sha256 = int(about["step"]), str(about["sha256"][weights.FILE_NAME])
    template = train_state.evaluation_variables(run.state_template)
    variables = weights.read(run.workdir / weights.FILE_NAME, sha256, template)
    return jax.device_put(variables, run.parallel.replicated), step
