"""The results of the accelerator's report, a JSON object a line, as Markdown and as curves."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.accelerator.parts import PARTS

Records = list[dict[str, Any]]


def as_object(line: str) -> dict[str, Any] | None:
    """The JSON object that a line is; None if it is another line."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def read(output: Path) -> Records:
    """What the results hold, without a line that was cut."""
    path = output / "results.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [found for found in map(as_object, lines) if found is not None]


def tables(records: Records) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yields each table's title and rows: first what became of the parts, then their numbers."""
    yield "Parts", [each for each in records if "outcome" in each]
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for each in records:
        if "outcome" in each or "curve" in each:
            continue
        name = each["part"]
        title = PARTS[name].table if name in PARTS else name
        row = {key: value for key, value in each.items() if key not in ("part", "row")}
        key = str(each.get("row", name))
        rows.setdefault(title, {}).setdefault(key, {"row": key}).update(row)
    for title, found in rows.items():
        yield title, list(found.values())


def markdown(records: Records) -> str:
    """The report: a table for each title, and each curve in a few points."""
    parts = ["# Accelerator report"]
    for title, rows in tables(records):
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [f"## {title}", "", _line(names), "|---" * len(names) + "|"]
        lines += [_line([_cell(row.get(name, "")) for name in names]) for row in rows]
        parts.append("\n".join(lines))
    for each in records:
        for name, points in each.get("points", {}).items():
            few = [*points[: -1 : len(points) // 12 + 1], points[-1]]
            text = ", ".join(f"{step}: {value:.4g}" for step, value in few)
            parts.append(f"{each['curve']}, {name} by step: {text}")
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return re.sub(r"\s*\n\s*", " / ", text).replace("|", "\\|")


def draw(records: Records, path: Path) -> None:
    """Draws the curves, if there are any."""
    from experiments.side_by_side import overlay_curves
    from gm_jax.images import save_png

    picture = overlay_curves({each["curve"]: each["points"] for each in records if "curve" in each})
    if picture is not None:
        save_png(path, picture)
