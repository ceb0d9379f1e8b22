"""Measures a GPU that is at hand for minutes, in one command that ends by itself.

    python experiments/accelerator_report.py --output=DIR [--minutes=8] [--parts=device,step,…]
        [--data=PATH] [--tiny]

The parts, in order of worth, and their limits are the table in `experiments/accelerator/parts.py`;
each runs in a process of its own. One that fails or exceeds its limit is recorded with its last
lines, and the next follows. DIR then holds `results.jsonl`, appended to as numbers come,
`report.md`, `curves.png` and `log.txt`. The same command again runs what is not done.

The machine needs no network. `experiments/accelerator_pack.py` packs what it lacks: the first act
here is to install the pack's wheels into a scratch folder that goes before the installed packages,
but for those that are installed. The data are the pack's, or `--data`: an .npz, a .zip of
SPLIT/CLASS/FILE, a folder, or a source such as `photos`. Under `--tiny` networks are the smallest,
so that all can be tried on CPU.
"""

import argparse
import contextlib
import importlib.metadata
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from experiments.accelerator import running, table
from experiments.accelerator.parts import PARTS, Part

PACK = running.ROOT / ".accelerator"  # of accelerator_pack.py, and ignored by git
CLOSING = 15.0  # seconds kept for the curves and for clearing up


def main(arguments: list[str]) -> None:
    """Runs the parts and writes the report."""
    start = time.monotonic()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--output", required=True, type=Path, help="folder of the report")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which all has ended")
    parser.add_argument("--parts", default="", help="names or their beginnings, by commas")
    parser.add_argument("--data", default="", help="images; the pack's by default")
    parser.add_argument("--scratch", type=Path, help="folder for runs and caches; else temporary")
    parser.add_argument("--tiny", action="store_true", help="the smallest networks, for a try")
    options = parser.parse_args(arguments)
    try:
        parts = chosen(PARTS, options.parts)
        path = options.data or packed_data(PACK)
    except ValueError as error:
        parser.error(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        made = held.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        scratch = (options.scratch or Path(made)).resolve()
        scratch.mkdir(parents=True, exist_ok=True)
        environment = prepare(scratch, PACK / "wheels")
        given = ["--scratch", str(scratch), "--source", as_source(path, scratch)]
        given += ["--tiny"] * options.tiny
        deadline = start + 60 * options.minutes - CLOSING
        running.run_parts(parts, given, options.output, deadline, environment, stop)
    records = table.read(options.output)
    print(table.markdown(records))
    with contextlib.suppress(ImportError):  # of Pillow, say
        table.draw(records, options.output / "curves.png")


def chosen(parts: Mapping[str, Part], names: str) -> dict[str, Part]:
    """The parts whose names begin with one of those given by commas, in the table's order."""
    wanted = [name for name in names.split(",") if name]
    unknown = [name for name in wanted if not any(part.startswith(name) for part in parts)]
    if unknown:
        raise ValueError(
            f"--parts: no part begins with {unknown[0]!r}; the parts: {', '.join(parts)}"
        )
    return {n: part for n, part in parts.items() if not wanted or n.startswith(tuple(wanted))}


def packed_data(pack: Path) -> str:
    """The path of the pack's data."""
    found = sorted((pack / "data").glob("*")) if (pack / "data").is_dir() else []
    if len(found) != 1:
        raise ValueError(
            f"{pack / 'data'} holds {len(found)} files: give --data, or make a pack of one by "
            "experiments/accelerator_pack.py"
        )
    return str(found[0])


def as_source(path: str, scratch: Path) -> str:
    """The `data.source` of a path."""
    file = Path(path).expanduser().resolve()
    if file.suffix == ".zip":
        return f"npz:{unzipped(file, scratch / 'data.npz')}"
    if file.is_dir():
        return f"folder:{file}"
    return f"npz:{file}" if file.is_file() else path


def unzipped(file: Path, images: Path) -> Path:
    """Decodes the pictures SPLIT/CLASS/FILE of a zip file, all of one size, into an .npz.

    Unpacking 60,000 files and listing them for every part would take longer than a part.
    """
    import numpy as np
    from PIL import Image

    from gm_jax.data.pictures import ENDINGS, picture_to_array

    if not images.exists():
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(ENDINGS)]
            splits, classes = zip(*(name.split("/")[-3:-1] for name in names), strict=True)
            pictures = [
                picture_to_array(Image.open(io.BytesIO(archive.read(name))), name) for name in names
            ]
        part = images.with_suffix(".partial.npz")
        np.savez(part, image=np.stack(pictures), label=np.array(classes), split=np.array(splits))
        part.replace(images)
    return images


def prepare(scratch: Path, wheels: Path) -> dict[str, str]:
    """Installs the packed wheels that are missing; returns the environment of the parts."""
    site = scratch / "site"
    missing = [str(wheel) for wheel in sorted(wheels.glob("*.whl")) if not installed(wheel)]
    if missing:
        options = (
            "-q",
            "--no-index",
            "--no-deps",
            "--no-compile",
            "--upgrade",
            "--target",
            str(site),
        )
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *missing], check=True)
    sys.path.insert(1, str(site))
    paths = (str(running.ROOT), str(site), os.environ.get("PYTHONPATH", ""))
    return {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "GM_JAX_CACHE": str(scratch / "images"),
        # A part finds what an earlier one compiled.
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled"),
    }


def installed(wheel: Path) -> bool:
    """Whether some version of a wheel's package is installed."""
    try:
        importlib.metadata.version(wheel.name.partition("-")[0])
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
