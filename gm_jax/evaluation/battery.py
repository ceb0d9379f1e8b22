"""The battery on runs: a chosen list of metrics, each by itself, written down as it comes."""

import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from absl import logging

from gm_jax import ranges
from gm_jax.borders import described
from gm_jax.command_line import closest
from gm_jax.evaluation import report
from gm_jax.evaluation.context import Context
from gm_jax.evaluation.metrics import METRICS
from gm_jax.evaluation.records import Records
from gm_jax.evaluation.request import AUTO, Request
from gm_jax.training.progress import say
from gm_jax.training.run import Run
from gm_jax.training.workdir import dumps

# What a metric may fail by without taking the others along: bad input, missing files, no memory.
_REASONS = (ValueError, OSError, ImportError, jax.errors.JaxRuntimeError)


def evaluate(run: Run, request: Request) -> dict[str, str]:
    """Computes the metrics of a request, skipping those written down before.

    JSON goes to stdout and `<workdir>/evaluation.json`, progress to stderr. A metric that cannot
    be computed says why, and the next one follows. Where the file cannot be written, stdout has
    the numbers, and the reason is said.

    Args:
      run: the run returned by `open_run`.
      request: what is asked for.

    Returns:
      {metric: reason} of those that are missing.

    Raises:
      ValueError: an unknown metric or number: nothing was computed.
    """
    check(request)
    if "image" not in run.train_data.fields:
        raise ValueError(
            f"--metrics={','.join(request.metrics)}: they judge images, and {run.train_data.name} "
            f"has {', '.join(run.train_data.fields)}; --mode=evaluate without --metrics scores it"
        )
    results, missing, records = _compute_all(run, request, request.metrics)
    _print(results, missing)
    _tell_if_unwritten(run, records.unwritten)
    return missing


def evaluate_automatically(run: Run, request: Request, num_importance_samples: int = 1) -> None:
    """Scores the test split, and computes what else the run and its data allow.

    It trains no network. A line on stderr says why a metric is left out. Where nothing can be
    written, stdout has all the numbers.

    Args:
      run: the run returned by `open_run`.
      request: the options of the metrics; its list of metrics is not read.
      num_importance_samples: passed on to `report.evaluate`, which scores the split.
    """
    check(request)
    unwritten: OSError | None = None
    if request.samples is None:
        terms, result = report.score_test(run, num_importance_samples=num_importance_samples)
        try:
            report.write_test(run, terms, result)
        except OSError as error:
            unwritten = error
    names = [name for name, metric in METRICS.items() if not metric.by_name]
    if "image" in run.train_data.fields:
        results, missing, records = _compute_all(run, request, names)
        if records.unwritten is not None:
            _print(results, missing)
        unwritten = unwritten or records.unwritten
    else:
        say(f"{', '.join(names)}: missing: they judge images")
    answered = {"bpd"}  # in test.json
    if num_importance_samples > 1 or run.method.likelihood in (None, "exact"):
        answered.add("iwae")
    for name, metric in METRICS.items():
        if metric.by_name and name not in answered:
            say(f"{name}: left out: {metric.by_name}; ask for it by --metrics={name}")
    _tell_if_unwritten(run, unwritten)


def _print(results: list[dict[str, Any]], missing: dict[str, str]) -> None:
    if jax.process_index() == 0:
        print(dumps({"results": results, "missing": missing}, indent=1), flush=True)


def _tell_if_unwritten(run: Run, error: OSError | None) -> None:
    if error is not None:
        say(
            f"{run.output} cannot be written ({described(error)}): the numbers stand above alone, "
            "on stdout; --output=DIR writes them elsewhere"
        )


def _compute_all(
    run: Run, request: Request, names: Iterable[str]
) -> tuple[list[dict[str, Any]], dict[str, str], Records]:
    """The results of some metrics, {metric: reason} of those that are missing, and the records."""
    records = Records(run.output, writes=jax.process_index() == 0)
    results, missing = [], {}
    with Context(run, request) as context:
        for name in names:
            try:
                results.append(_compute(name, context, records))
            except _REASONS as error:
                logging.debug("%s", name, exc_info=True)  # --verbosity=1 shows where
                missing[name] = f"{error}" or type(error).__name__
                say(f"{name}: missing: {missing[name]}")
    return results, missing, records


def check(request: Request) -> None:
    """Refuses an unknown metric and numbers out of range with a ValueError."""
    for name in () if request.metrics == AUTO else request.metrics:
        if name not in METRICS:
            near = closest(name, METRICS)
            choices = f"choose among {', '.join(METRICS)}; or auto, alone"
            hint = f"did you mean {near[0]}?" if near else choices
            raise ValueError(f"unknown metric '{name}'; {hint}")
    if not request.metrics:
        raise ValueError(f"--metrics names no metric; choose among {', '.join(METRICS)}")
    if request.resize not in ("tf1", "clean"):
        raise ValueError(f"--resize={request.resize}: choose tf1 (papers) or clean (antialiased)")
    for name, least in (("num_samples", 2), ("num_importance_samples", 1), ("training_steps", 1)):
        value = getattr(request, name)
        if value is not None and value < least:
            raise ValueError(f"--{name}={value}: give {least} or more")
    ranges.checked_seed(request.seed)


def _compute(name: str, context: Context, records: Records) -> dict[str, Any]:
    metric = METRICS[name]
    # Named after the feature network, if it has one, before anything is computed.
    depends = "features" in metric.identified_by
    reported = context.network.metric_name(name) if depends else name
    identity = {part: context.identity(part) for part in metric.identified_by}
    if depends:
        context.share_statistics()  # also where the metric itself is found below
    found = records.find(reported, identity)
    # In a run of several processes the first one's file decides.
    if context.run.parallel.to_host(np.array([found is not None]))[0]:
        say(f"{reported}: already in {context.run.output / 'evaluation.json'}")
        return found or {}
    say(f"{reported}: computing")
    start = time.perf_counter()
    outcome = metric.compute(context)
    result: dict[str, Any] = {"metric": reported, "identity": identity}
    result["values"] = outcome.values
    if outcome.warning:
        result["warning"] = outcome.warning
    seconds = time.perf_counter() - start
    result["seconds"] = round(seconds, 1)
    result = records.add(result, outcome.arrays, outcome.picture)
    numbers = {key: value for key, value in outcome.values.items() if isinstance(value, float)}
    text = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
    say(f"{reported}: {text} ({seconds:.0f} s)")
    if outcome.warning:
        say(f"{reported}: warning: {outcome.warning}")
    return result
