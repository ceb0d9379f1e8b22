"""The model card: what a reader of an export has to know, in Markdown."""

from collections.abc import Mapping, Sequence

import jax

from gm_jax import methods
from gm_jax.evaluation.likelihood import kind_of_likelihood
from gm_jax.evaluation.numbers import chosen, on_record
from gm_jax.exporting import weights
from gm_jax.exporting.programs import Program
from gm_jax.training.recorded import contents
from gm_jax.training.run import Run


def write(run: Run, step: int, programs: Mapping[str, Program], command: Sequence[str]) -> str:
    """The card of a run's checkpoint.

    Args:
      run: the run, with its data.
      step: the checkpoint's step.
      programs: from `programs.build`.
      command: the arguments of the command line that give its config; () where none did.
    """
    parts = [_head(run, step), _data(run), _numbers(run, command), _with_gm_jax(run)]
    return "\n".join([*parts, _programs(programs), _UPLOAD])


def _head(run: Run, step: int) -> str:
    config = run.config
    about = (methods.METHODS[config.method].__doc__ or "").partition("\n")[0]
    likelihood = "none" if run.method.likelihood is None else kind_of_likelihood(run.method)
    task = "image-generation" if run.method.class_conditional else "unconditional-image-generation"
    return f"""---
license: unknown # name yours: nothing is granted by leaving it so
library_name: gm_jax
tags: [jax, {task}, {config.method}]
---

# {config.method}, {config.variant}

{about}

Step {step} of {config.train.steps} ({chosen(run)}); likelihood: {likelihood}; the whole
config is in `config.json`, the parameters in `{weights.FILE_NAME}`.
"""


def _data(run: Run) -> str:
    lines = ["## Data", "", "| split | source | examples | of it |", "|---|---|---|---|"]
    for name, found in contents(run.datasets).items():
        dataset = run.dataset(name)
        count = found.pop("examples")
        hashes = ", ".join(f"{field} {value}" for field, value in found.items())
        lines.append(_row(name, f"{dataset.name}, {dataset.split}", str(count), hashes))
    spec = [f"`{name}`: {field}" for name, field in run.train_data.fields.items()]
    note = "The last column identifies the values of each field. " + "; ".join(spec) + "."
    return "\n".join([*lines, "", note, ""])


def _numbers(run: Run, command: Sequence[str]) -> str:
    numbers = on_record(run.workdir)
    if not numbers:
        return "## Numbers\n\nNone is on record.\n"
    lines = ["## Numbers", "", "| metric | value | it depends on | command |", "|---|---|---|---|"]
    for number in numbers:
        lines.append(_row(number.metric, number.text, number.settings, f"`… {number.flags}`"))
    given = " ".join([*(command or ["--config=PAGE"]), "--workdir=WORKDIR"])
    return "\n".join([*lines, "", f"`…` is `python experiments/main.py {given}`.", ""])


def _with_gm_jax(run: Run) -> str:
    calls = {
        "sample": "model.sample(16)  # {name: uint8 [16, H, W, C]}",
        "log_likelihood": "model.log_likelihood(images)  # nats, float64 [N]",
        "encode": "model.encode(images)",
    }
    lines = ["## With gm_jax", "", "```python", "import gm_jax", 'model = gm_jax.load("FOLDER")']
    lines += [call for name, call in calls.items() if name in run.method.capabilities]
    return "\n".join([*lines, "```", ""])


def _programs(programs: Mapping[str, Program]) -> str:
    if not programs:
        return ""
    name, program = next(iter(programs.items()))
    lines = [
        "## Without gm_jax",
        "",
        f"Programs in StableHLO, written by JAX {jax.__version__} for CPU, CUDA and TPU. They need "
        "`pip install jax flatbuffers safetensors` alone:",
        "",
        "```python",
        "import jax.export, numpy as np, pathlib, safetensors.numpy",
        f'parameters = safetensors.numpy.load_file("{weights.FILE_NAME}")',
        f'{name} = jax.export.deserialize(pathlib.Path("{name}.stablehlo").read_bytes())',
        f"batch = {_example(program)}",
        f"{name}.call(parameters, batch, np.uint32(0))  # 0: the seed",
        "```",
        "",
        "`index` [B] numbers the examples, whose noise it keys. Images are in 0..levels−1.",
        "",
        "| program | batch | B |",
        "|---|---|---|",
    ]
    for name, program in programs.items():
        batch = ", ".join(f"`{argument}` {shape}" for argument, shape in program.batch.items())
        size = "any" if program.size is None else f"{program.size} (it cannot be left open)"
        lines.append(_row(f"`{name}.stablehlo`", batch, size))
    return "\n".join([*lines, ""])


def _example(program: Program) -> str:
    """Python for a batch of zeros, and of numbered examples."""
    size = program.size or 16

    def value(name: str, text: str) -> str:
        if name == "index":
            return f"np.arange({size}, dtype=np.int32)"
        dtype, _, shape = text.partition(" ")
        return f"np.zeros({shape.replace('b', str(size), 1)}, np.{dtype})"

    pairs = [f'"{name}": {value(name, text)}' for name, text in program.batch.items()]
    return "{" + ", ".join(pairs) + "}"


def _row(*cells: str) -> str:
    """A line of a table; a bar within a cell (of `pair:A|B`) does not end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


_UPLOAD = """## Upload

```python
from huggingface_hub import HfApi
HfApi().create_repo("NAME/MODEL", exist_ok=True)
HfApi().upload_folder(folder_path="FOLDER", repo_id="NAME/MODEL")
```
"""
