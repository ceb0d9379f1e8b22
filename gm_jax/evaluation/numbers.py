"""What a run is known to score: the numbers on record, with their settings and commands."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from etils import epath

from gm_jax.evaluation.metrics import METRICS
from gm_jax.evaluation.records import describe, read_results
from gm_jax.training.run import Run
from gm_jax.training.workdir import read_json

# Settings in a `test.json`; its other entries are numbers.
_SETTINGS = ("source", "split", "num_images", "step", "recalibration_batches", "likelihood")


class Number(NamedTuple):
    """A metric on record.

    Attributes:
      metric: its name, as in the tables of papers.
      text: its value, with its standard error or deviation if it has one.
      settings: everything that it depends on, as text.
      flags: what the command line adds to those of the run to compute it.
    """

    metric: str
    text: str
    settings: str
    flags: str


def on_record(workdir: epath.PathLike) -> list[Number]:
    """The numbers of `test.json` and `evaluation.json` in a run's work directory.

    Raises:
      ValueError: one of the files is damaged.
    """
    path = epath.Path(workdir) / "test.json"
    found = list(_of_test(read_json(path))) if path.exists() else []
    for result in read_results(workdir):
        identity, metric = result["identity"], result["metric"]
        if "model" not in {*identity, *identity.get("samples", {})}:
            continue  # of images that were given beside the run
        values = {name: v for name, v in result["values"].items() if isinstance(v, int | float)}
        text = _with_error(values, metric) if metric in values else _listed(values)
        warning = f"; {result['warning']}" if "warning" in result else ""
        settings = describe(identity) + warning
        found.append(Number(metric, text, settings, _flags(metric, identity)))
    return found


def chosen(run: Run) -> str:
    """By what the best checkpoint of a run is the best."""
    return "the latest" if run.method.validation_score is None else "the best on validation"


def _of_test(score: Mapping[str, Any]) -> Iterator[Number]:
    settings = describe({name: score.get(name) for name in _SETTINGS})
    draws = score.get("num_importance_samples")
    for name, value in score.items():
        if name in (*_SETTINGS, "num_importance_samples") or name.endswith("standard_error"):
            continue
        weighted = name == "importance_weighted"
        errors = {"standard_error": score.get(f"{name}_standard_error" if weighted else "")}
        if name in ("bits_per_dim", "nats"):
            errors = {"standard_error": score.get("standard_error")}
        flags = "--mode=evaluate" + (f" --num_importance_samples={draws}" if weighted else "")
        yield Number(name, _with_error({name: value, **errors}, name), settings, flags)


def _flags(metric: str, identity: Mapping[str, Any]) -> str:
    """What the command line says of a metric that may be named after a feature network."""
    features, samples = identity.get("features", {}), identity.get("samples", {})
    kind, reference = str(features.get("name", "")).partition(":")[0], identity.get("reference", {})
    given = {
        "metrics": _asked_for(metric),
        "num_samples": samples.get("num_images"),
        "temperature": samples.get("temperature"),
        "features": {"classifier": "classifier:WORKDIR", "exported": "exported:FILE"}.get(
            kind, kind
        ),
        "resize": features.get("resize"),
        "reference": reference.get("source"),
        "reference_split": reference.get("split"),
        "num_importance_samples": identity.get("num_importance_samples"),
        "training_steps": identity.get("training_steps"),
        "seed": identity.get("seed"),
    }
    flags = [f"--{name}={shlex.quote(str(value))}" for name, value in given.items() if value]
    return " ".join(["--mode=evaluate", *flags])


def _asked_for(metric: str) -> str:
    """The name by which a metric is asked for; `FeatureNetwork.metric_name` made the other."""
    named = {name.replace("fid", "fd"): name for name in METRICS}
    prefixes = [each for each in named if metric.startswith(f"{each}_")]
    return metric if metric in METRICS else named[max(prefixes, key=len)]


def _with_error(values: Mapping[str, Any], name: str) -> str:
    value = values[name]
    text = "not finite" if value is None else f"{value:.4g}"
    for error in ("standard_error", "std"):
        if values.get(error) is not None:
            return f"{text} ± {values[error]:.2g}"
    return text


def _listed(values: Mapping[str, Any]) -> str:
    shown = {name: f"{v:.4g}" if isinstance(v, float) else v for name, v in values.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items())
