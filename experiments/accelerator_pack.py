"""Packs what a GPU machine without a network lacks for `experiments/accelerator_report.py`.

    python experiments/accelerator_pack.py --data=FILE [--output=.accelerator]
        [--packages=NAME[==VERSION],…] [--python=3.12]

The folder, which git ignores and which is taken along with the repository, gets `wheels/` and
`data/`. The packages are those that a machine lacks which has jax, flax, optax, orbax-checkpoint,
scikit-learn and scikit-image, by default in the versions installed here; their dependencies are
not added, since they are there or on the list. TFDS is not: it needs a package that has no
wheel, and no part of the report reads through it. FILE is a CIFAR-10 in .npz, or in a .zip of
SPLIT/CLASS/FILE.
"""

import argparse
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from experiments.accelerator_report import PACK

MISSING = ("ml-collections", "grain", "array-record", "portpicker", "tensorboardX")
# Of the versions of glibc for which wheels are made; pip takes only those that are named.
PLATFORMS = ("2_35", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17")
LIMIT_MIB = 60  # 64 are what such a machine takes, with the repository


def main(arguments: list[str]) -> None:
    """Makes the folder, and prints what lies there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, help="file of images; without it only wheels")
    parser.add_argument("--output", type=Path, default=PACK, help="folder that is made anew")
    parser.add_argument("--packages", default=",".join(MISSING), help="what the machine lacks")
    parser.add_argument("--python", default="3.12", help="the machine's version of Python")
    options = parser.parse_args(arguments)
    if options.data is not None and options.data.suffix not in (".npz", ".zip"):
        parser.error(f"--data={options.data}: give an .npz or a .zip")
    if options.data is not None and not options.data.is_file():
        parser.error(f"--data={options.data}: there is no such file")
    for folder in ("wheels", "data"):
        shutil.rmtree(options.output / folder, ignore_errors=True)
        (options.output / folder).mkdir(parents=True)
    names = [pinned(name) for name in options.packages.split(",") if name]
    subprocess.run(download(names, options.python, options.output / "wheels"), check=True)
    if options.data is not None:
        shutil.copyfile(options.data, options.output / "data" / options.data.name)
    files = sorted(path for path in options.output.rglob("*") if path.is_file())
    sizes = {path: path.stat().st_size / 2**20 for path in files}
    for path, size in sizes.items():
        print(f"{size:8.2f} MiB  {path.relative_to(options.output)}")
    print(f"{sum(sizes.values()):8.2f} MiB  in {options.output}")
    if sum(sizes.values()) > LIMIT_MIB:
        parser.error(f"that is more than {LIMIT_MIB} MiB: give a smaller --data")


def pinned(name: str) -> str:
    """NAME==VERSION with the version installed here, with which the code is tested, if any is."""
    try:
        return name if "==" in name else f"{name}=={importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def download(names: Sequence[str], python: str, folder: Path) -> list[str]:
    """The command that downloads wheels for another machine."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    command += [f"--platform=manylinux_{glibc}_x86_64" for glibc in PLATFORMS]
    return [*command, "--platform=manylinux2014_x86_64", *names]


if __name__ == "__main__":
    main(sys.argv[1:])
