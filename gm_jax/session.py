"""One call of the command: open the run, then train, evaluate, sample or reconstruct."""

import contextlib
import os
from pathlib import Path
from typing import Any

import jax
from absl import logging

from gm_jax import command_line
from gm_jax.evaluation import report
from gm_jax.evaluation.battery import check
from gm_jax.evaluation.battery import evaluate as evaluate_battery
from gm_jax.evaluation.request import Request
from gm_jax.training import loop
from gm_jax.training import workdir as workdirs
from gm_jax.training.run import open_run

MODES = {
    "evaluate": report.evaluate,
    "sample": report.sample,
    "reconstruct": report.reconstruct,
}


def run(config: Any, workdir: str, mode: str, battery: dict[str, Any] | None = None) -> None:
    """Does what the command asks for.

    What a user can mend (config, data, work directory) ends in one line and exit status 2.

    Args:
      config: of a config file.
      workdir: of the run.
      mode: `train`, or one of MODES, which read a trained run and may read a live one.
      battery: fields of an evaluation's `Request`, for `--mode=evaluate --metrics=...`; ends with
        status 1 if one of its metrics is missing.
    """
    use_compilation_cache()
    training = mode == "train"
    with command_line.refusals():
        request = _request(mode, battery or {})
    with contextlib.ExitStack() as held:
        with command_line.refusals():
            opened = open_run(config, workdir)
            if training:
                opened.check_start()  # before anything is written
            if jax.process_index() == 0:
                if training:
                    held.enter_context(workdirs.hold(opened.workdir))
                if request is None or request.samples is None:  # given samples need no run
                    workdirs.check_config(opened.workdir, config, read_only=not training)
        if request is not None:
            with command_line.refusals():
                missing = evaluate_battery(opened, request)
            if missing:
                raise SystemExit(1)
        elif not training:
            with command_line.refusals():
                MODES[mode](opened)
        elif loop.train(opened, report.validate):
            report.finish(opened)


def _request(mode: str, fields: dict[str, Any]) -> Request | None:
    """The evaluation that the flags ask for, or None where they ask for none."""
    if not fields:
        return None
    if mode != "evaluate" or "metrics" not in fields:
        flags = ", ".join(f"--{name}" for name in fields)
        raise ValueError(f"{flags}: only --mode=evaluate with --metrics=... takes them")
    request = Request(**{**fields, "metrics": tuple(fields["metrics"])})
    check(request)
    return request


def use_compilation_cache() -> None:
    """Keeps compiled programs between runs, in `JAX_COMPILATION_CACHE_DIR` or the home folder."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = Path.home() / ".cache" / "gm_jax" / "compilation"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    logging.debug("compilation cache: %s", jax.config.jax_compilation_cache_dir)
