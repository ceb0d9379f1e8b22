"""Table 1 of adaptive density estimation: its models at an equal budget, side by side.

    python experiments/adaptive_density_table.py [--data=DATA] [--features=classifier:WORKDIR]
        [--output=DIR] [--config.FIELD=VALUE …]

Calls, for every model of `configs/adaptive_density.py`, the command that trains it (unless it is
finished) and the one that judges it; then writes comparison.md, .csv and .png (samples of each).
The bits/dim of the GAN are those of an inference network trained around it.
"""

import argparse
import runpy
import subprocess
import sys
from pathlib import Path

from flax.traverse_util import flatten_dict

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs"
MODELS = ("gan", "vae", "v_ade", "av_gde", "av_ade")


def call(script: str, *arguments: str) -> None:
    """Runs a script of this folder, shown as one would type it; its failure ends this one."""
    print(f"python experiments/{script} {' '.join(arguments)}", file=sys.stderr)
    subprocess.run([sys.executable, HERE / script, *arguments], check=True)


def fields(page: str) -> set[str]:
    """The fields of a config FILE:VARIANT, such as `train.steps`."""
    file, _, variant = page.partition(":")
    config = runpy.run_path(str(CONFIGS / file))["get_config"](variant)
    return set(flatten_dict(config.to_dict(), sep="."))


def main() -> None:
    """Trains, judges and compares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    data = ("digits", "photos", "cifar10", "smoke")
    parser.add_argument("--data", default="digits", choices=data)
    parser.add_argument("--num_samples", default="1000", help="of each model, to judge")
    parser.add_argument(
        "--features", default="pixels", help="classifier:WORKDIR, inception, pixels"
    )
    parser.add_argument("--output", default="runs/adaptive_density_table")
    options, overrides = parser.parse_known_args()
    pages = {model: f"adaptive_density.py:{model},{options.data}" for model in MODELS}
    pages["gan_likelihood"] = f"gan_likelihood.py:{options.data}"
    names = [override.partition("=")[0].removeprefix("--config.") for override in overrides]
    known = {model: fields(page) for model, page in pages.items()}
    for name in names:
        if not any(name in of_model for of_model in known.values()):
            parser.error(f"no model of the table has a field {name}")
    judged = ["fid", "prd"] if options.features == "pixels" else ["fid", "is", "prd"]
    for model, page in pages.items():
        # What a model has not, it is not told: a GAN has no warm-up.
        told = [o for o, name in zip(overrides, names, strict=True) if name in known[model]]
        run = [f"--config={CONFIGS}/{page}", f"--workdir={options.output}/{model}", *told]
        if model == "gan_likelihood":
            call("main.py", *run, f"--config.frozen.generator={options.output}/gan")
            continue
        call("main.py", *run)
        metrics = judged if model == "gan" else ["bpd", *judged]
        call("main.py", *run, "--mode=evaluate", f"--metrics={','.join(metrics)}",
             f"--features={options.features}", f"--num_samples={options.num_samples}")  # fmt: skip
    runs = [f"{options.output}/{model}" for model in pages]
    call("compare.py", *runs, f"--output={options.output}")


if __name__ == "__main__":
    main()
