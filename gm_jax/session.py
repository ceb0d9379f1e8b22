"""One call of the command: opens the run, then trains, evaluates, samples or reconstructs.

The library raises; only this file turns what it raises into a line and an exit status.
"""

import contextlib
import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

from gm_jax import command_line
from gm_jax.borders import described
from gm_jax.coding import files
from gm_jax.evaluation import drawing, report
from gm_jax.evaluation.battery import check, evaluate_automatically
from gm_jax.evaluation.battery import evaluate as evaluate_battery
from gm_jax.evaluation.request import AUTO, Request
from gm_jax.exporting import export
from gm_jax.reporting.run_page import write_page
from gm_jax.training import agreement, loop, recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.frozen import recipes
from gm_jax.training.progress import say
from gm_jax.training.run import Run, open_run

MODES: dict[str, Callable[..., object]] = {
    "sample": drawing.sample,
    "reconstruct": drawing.reconstruct,
    "interpolate": drawing.interpolate,
    "translate": drawing.translate,
    "compress": files.compress,
    "decompress": files.decompress,
    "export": export.export,
    "report": write_page,
}
_WAYS = {  # {mode: the flags that it takes}
    "translate": ("direction", "source"),
    "compress": ("source", "output"),
    "decompress": ("source", "output"),
}
_FLAGS = {"direction": "--direction", "source": "--input", "output": "--output"}
# Those of MODES that tell a reader how the run's numbers are computed.
_REPEATS_COMMAND = ("export", "report")


def train(config: Any, workdir: str, validate: loop.Validate = report.validate) -> bool:
    """Trains a run, from its latest checkpoint if it has one, and then evaluates its best.

    Args:
      config: the config from a config file.
      workdir: the run's work directory.
      validate: scores the model on its way, as `loop.train` describes.

    Returns:
      Whether the run is finished (False: it was asked to end, and saved).

    Raises:
      ValueError: the config, the data or the work directory cannot be used for training.
      FloatingPointError: a loss term or a gradient was not finite.
    """
    use_compilation_cache()
    with contextlib.ExitStack() as held:
        opened = _open(config, workdir, held=held)
        finished = loop.train(opened, validate)
        if finished:
            report.finish(opened)
        return finished


def run(
    config: Any,
    workdir: str,
    mode: str,
    battery: dict[str, Any] | None = None,
    temperature: float | None = None,
    output: str | None = None,
    direction: str | None = None,
    source: str | None = None,
    command: Sequence[str] = (),
) -> None:
    """Does what the command asks for: the program's entry point, which may exit.

    Mistakes that a user can fix (config, data, work directory) give one line and exit status 2.

    Args:
      config: the config from a config file.
      workdir: the run's work directory.
      mode: `train`; or `evaluate` or one of MODES, which read a trained run, even a live one.
      battery: fields of an evaluation's `Request`, for `--mode=evaluate`, which ends with status 1
        if a metric that `metrics` names is missing. If none is named, `num_importance_samples`
        tightens the bound on the test split.
      temperature: sampling temperature; None takes the config's.
      output: the folder for what a mode that reads a run writes; None takes its work directory.
        `compress` and `decompress` need it, and may write a file.
      direction, source: of `--mode=translate`, as for `drawing.translate`; None takes its defaults.
        The source of `compress` and `decompress` is as for `coding.files`.
      command: the arguments that gave the config, which what is written for people repeats.
    """
    fields = battery or {}
    way: dict[str, Any] = {"direction": direction, "source": source}
    if "output" in _WAYS.get(mode, ()):
        way, output = {**way, "output": output}, None
    way = {name: value for name, value in way.items() if value is not None}
    missing: dict[str, str] = {}
    with command_line.refusals():
        request = _request(mode, fields)
        flags = {"mode": mode, "temperature": temperature, **fields, **way}
        agreement.check_same("command", flags)
        _check_way(mode, way)
        config = _at_temperature(config, mode, request, temperature)
        if mode == "export":
            export.check_output(output)
        if mode in _REPEATS_COMMAND:
            way["command"] = command
        if mode == "train":
            if output is not None:
                raise ValueError(f"--output={output}: a training writes to its --workdir")
            train(config, workdir)
        else:
            use_compilation_cache()
            needs_run = request is None or request.samples is None  # given samples need no run
            opened = _open(config, workdir, needs_run, output=output)
            if "output" in way:
                MODES[mode](opened, **way)
            elif request is None:
                with agreement.together():
                    if jax.process_index() == 0:  # which alone writes
                        workdirs.check_writable(opened.output)
                MODES[mode](opened, **way)
            elif request.metrics == AUTO:
                draws = fields.get("num_importance_samples", 1)
                evaluate_automatically(opened, request, draws)
            else:
                missing = evaluate_battery(opened, request)
    if missing:
        raise SystemExit(1)


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """Ends this process at once if an error escapes, so that its peers do not wait for it.

    A process that only raised would wait at exit for peers that wait for it in a collective.
    """
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) else 1
        if jax.process_count() == 1 or code in (0, None):
            raise
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _open(
    config: Any,
    workdir: str,
    needs_run: bool = True,
    held: contextlib.ExitStack | None = None,
    output: str | None = None,
) -> Run:
    """Opens the run to read it or, given `held`, to train it while that holds it.

    A run that cannot continue is refused before its images are opened, which takes seconds; the
    work directory is made after that, so that a config that does not fit leaves nothing behind. If
    one of several processes refuses, or sees something else, all refuse.
    """
    first = jax.process_index() == 0
    folder = workdirs.absolute(workdir)
    agreement.check_same("code", agreement.code())
    agreement.check_same("config", json.loads(workdirs.to_json(config)))
    with agreement.together():
        workdirs.check_client(workdir)
        found = (folder / "config.json").exists()
        if first and found and held is not None:
            held.enter_context(workdirs.hold(folder))
        if first and needs_run and (found or held is None):
            workdirs.check_config(folder, config, read_only=True)
        opened = open_run(config, workdir, output)
    agreement.check_same("data", recorded.contents(opened.datasets))
    say(_header(opened))
    if held is not None:
        frozen = opened.check_start()  # before anything is written
        agreement.check_shared(folder)
    elif needs_run:
        saved = {"config.json": workdirs.read_json(folder / "config.json") if found else None}
        agreement.check_same("--workdir", saved)
    with agreement.together():
        if first and needs_run and held is None:
            recorded.check_data(folder, opened.train_data.fields, opened.datasets)
        if first and held is not None:
            if not found:
                held.enter_context(workdirs.hold(folder))
            workdirs.check_config(folder, config)
            recorded.record_data(folder, opened.train_data.fields, opened.datasets)
            recorded.record_frozen(folder, recipes(config, folder), frozen)
    return opened


def _header(run: Run) -> str:
    """Two lines for the user: what is opened, where, and on which devices and data."""
    config, source, devices = run.config, run.train_data, jax.devices()
    kinds = " and ".join(sorted({device.device_kind for device in devices}))
    fields = ", ".join(
        f"{name} {'×'.join(map(str, field.shape)) or 'of an example'}"
        + (f" of {field.levels} levels" if field.levels else "")
        + (f" of {field.num_classes} classes" if field.num_classes else "")
        for name, field in source.fields.items()
    )
    return (
        f"{config.method}, {config.variant}: {run.workdir}; {jax.process_count()} processes, "
        f"{len(devices)} devices ({kinds}), {config.train.parallel}\n"
        f"data: {source.name}, {source.split}: {len(source)} examples, {fields}"
    )


def _check_way(mode: str, way: dict[str, Any]) -> None:
    """Refuses flags that a mode does not take, and a mode without flags that it needs."""
    for name in way:
        if name not in _WAYS.get(mode, ()):
            takers = " and ".join(
                f"--mode={each}" for each, names in _WAYS.items() if name in names
            )
            raise ValueError(f"{_FLAGS[name]}: only {takers} can take it")
    missing = [_FLAGS[name] for name in _WAYS.get(mode, ()) if name not in way]
    if missing and "output" in _WAYS[mode]:
        raise ValueError(f"--mode={mode} needs {' and '.join(missing)}")


def _at_temperature(
    config: Any, mode: str, request: Request | None, temperature: float | None
) -> Any:
    """The config, with `sample.temperature` replaced if another one is requested."""
    if temperature is None:
        return config
    if mode != "sample" and request is None:
        raise ValueError(
            f"--temperature={temperature}: only --mode=sample and --mode=evaluate draw samples "
            "at a temperature"
        )
    if "sample" not in config:
        raise ValueError(f"--temperature={temperature}: a {config.method} draws no samples")
    config = config.copy_and_resolve_references()
    config.sample.temperature = temperature
    return config


def _request(mode: str, fields: dict[str, Any]) -> Request | None:
    """The evaluation that the flags request, or None in another mode."""
    if mode != "evaluate":
        if fields:
            flags = ", ".join(f"--{name}" for name in fields)
            raise ValueError(f"{flags}: only --mode=evaluate takes them")
        return None
    request = Request(**{**fields, "metrics": tuple(fields.get("metrics", AUTO))})
    check(request)
    return request


def use_compilation_cache() -> None:
    """Keeps compiled programs between runs, in `JAX_COMPILATION_CACHE_DIR` or the home folder.

    Where neither can be written, it says so, and programs are compiled anew by every run.
    """
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if given is not None and workdirs.is_remote(given):
        return
    try:
        folder = Path(given or Path.home() / ".cache" / "gm_jax" / "compilation")
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody's home
        say(
            f"compiled programs are not kept ({described(error)}); JAX_COMPILATION_CACHE_DIR names "
            "a folder for them"
        )
        jax.config.update("jax_enable_compilation_cache", False)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    logging.debug("compilation cache: %s", folder)
