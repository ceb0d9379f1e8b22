"""What a run scored, and under which settings; what the papers published."""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

from etils import epath
from flax.traverse_util import flatten_dict

from gm_jax.borders import reading
from gm_jax.evaluation.records import read_results
from gm_jax.training.workdir import read_json

PUBLISHED = Path(__file__).with_name("published.csv")
# Deviations that are shown behind a number.
SPREADS = ("standard_error", "std")
# Parts of a flattened identity that say which model it is, which every run has its own of.
_MODEL = ("model.", "samples.model.", "samples.run_seed")
# {column: what `test.json` calls it}, of likelihoods: of images, and of other data
_LIKELIHOODS = {"bpd": "bits_per_dim", "nats": "nats"}
KIND = "kind"  # the column that says exact, bound or estimate of these


class Row(NamedTuple):
    """name: the path of a run, or a published model; source: of a published row, '' for a run;
    cells: {column: text}; identities: {column: what the number depends on}; warnings: {column:
    text}."""

    name: str
    source: str
    cells: dict[str, str]
    identities: dict[str, dict[str, Any]]
    warnings: dict[str, str]


def read_run(workdir: str, columns: list[str]) -> Row:
    """The latest number of every metric of a run; its likelihood after training, if no other.

    Args:
      workdir: the run's work directory.
      columns: numbers METRIC.NUMBER that are wanted beside the main number of every metric.

    Raises:
      ValueError: nothing was evaluated there.
    """
    folder = epath.Path(workdir)
    stored = read_results(folder)
    if (folder / "config.json").exists():  # a run: not what images given beside it scored
        stored = [result for result in stored if "model" in _parts(result["identity"])]
    results = {result["metric"]: result for result in stored}
    path = folder / "test.json"
    score = read_json(path) if path.exists() else {}
    with reading(f"{path} is damaged and", "call --mode=evaluate, which writes it anew"):
        for metric, name in _LIKELIHOODS.items():
            if name in score and metric not in results:
                results[metric] = _of_test(score, metric, name)
    if not results:
        raise ValueError(
            f"{workdir} holds no results: call experiments/main.py --workdir={workdir} "
            "--mode=evaluate --metrics=... first"
        )
    row = Row(workdir, "", {}, {}, {})
    for column in dict.fromkeys([*results, *columns]):
        metric, _, number = column.partition(".")
        values = results.get(metric, {"values": {}})["values"]
        if (number or metric) not in values:
            continue
        found = [values[name] for name in (number or metric, *SPREADS) if name in values]
        value, *deviation = ["not finite" if v is None else v for v in found]
        text = value if isinstance(value, str) else f"{value:.4g}"
        if deviation and not number and not isinstance(deviation[0], str):
            text += f" ± {deviation[0]:.2g}"
        bracketed = not number and values.get("likelihood", "").startswith("[")  # as in Table 1
        row.cells[column] = f"[{text}]" if bracketed else text
        row.identities[column] = results[metric]["identity"]
        if "warning" in results[metric]:
            row.warnings[column] = results[metric]["warning"]
    kinds = [results[m]["values"].get("likelihood") for m in _LIKELIHOODS if m in results]
    if any(kinds):
        row.cells[KIND] = ", ".join(kind.strip("[]") for kind in kinds if kind)
    return row


def _of_test(score: dict[str, Any], metric: str, name: str) -> dict[str, Any]:
    """The number of this name in a run's `test.json` as a result of the metric."""
    values = {
        metric: score[name],
        "standard_error": score["standard_error"],
        "likelihood": score["likelihood"],
    }
    test = {name: score[name] for name in ("source", "split", "num_images")}
    known = ("step", "recalibration_batches")
    model = {name: score[name] for name in known if name in score}
    return {"metric": metric, "identity": {"model": model, "test": test}, "values": values}


def _parts(identity: dict[str, Any]) -> set[str]:
    """Names of an identity's parts and of those inside its samples."""
    return {*identity, *identity.get("samples", {})}


def published_rows(table: str) -> list[Row]:
    """The rows of a published table.

    Raises:
      ValueError: there is no such table.
    """
    with PUBLISHED.open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["table"] == table]
    if not lines:
        raise ValueError(f"no published table {table!r}; choose among {published_tables()}")
    rows: dict[str, Row] = {}
    for line in lines:
        row = rows.setdefault(line["model"], Row(line["model"], line["source"], {}, {}, {}))
        row.cells[line["column"]] = line["value"]
    return list(rows.values())


def not_alike(rows: list[Row], column: str) -> list[str]:
    """The settings under which the numbers of a column were judged that are known to differ.

    A setting that one result does not record (a run's test.json knows fewer) is no difference.
    """
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in flatten_dict(row.identities.get(column, {}), sep=".").items():
            if not name.startswith(_MODEL):
                values.setdefault(name, set()).add(json.dumps(value))
    return [name for name, several in values.items() if len(several) > 1]


def published_tables() -> str:
    """Their names, divided by commas."""
    with PUBLISHED.open(encoding="utf-8") as file:
        return ", ".join(dict.fromkeys(line["table"] for line in csv.DictReader(file)))
