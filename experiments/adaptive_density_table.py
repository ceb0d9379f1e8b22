"""Table 1 of adaptive density estimation: its models at an equal budget, side by side.

    python experiments/adaptive_density_table.py [--data=DATA] [--features=classifier:WORKDIR]
        [--output=DIR] [--config.FIELD=VALUE …]

Calls, for every model of `configs/adaptive_density.py`, the command that trains it (unless it is
finished) and the one that judges it; then writes comparison.md, .csv and .png (samples of each).
The bits/dim of the GAN are those of an inference network trained around it.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs"
MODELS = ("gan", "vae", "v_ade", "av_gde", "av_ade")


def call(script: str, *arguments: str) -> None:
    """Runs a script of this folder, shown as one would type it; its failure ends this one."""
    print(f"python experiments/{script} {' '.join(arguments)}", file=sys.stderr)
    subprocess.run([sys.executable, HERE / script, *arguments], check=True)


def main() -> None:
    """Trains, judges and compares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--data", default="digits", choices=("digits", "photos", "cifar10", "smoke")
    )
    parser.add_argument("--num_samples", default="", help="to judge; sample.num_images if empty")
    parser.add_argument(
        "--features", default="pixels", help="classifier:WORKDIR, inception, pixels"
    )
    parser.add_argument("--output", default="runs/adaptive_density_table")
    options, overrides = parser.parse_known_args()
    runs = {model: f"{options.output}/{model}" for model in MODELS}
    around = f"{options.output}/gan_likelihood"
    number = [f"--num_samples={options.num_samples}"] if options.num_samples else []
    judged = ["fid", "prd"] if options.features == "pixels" else ["fid", "is", "prd"]
    for model, run in runs.items():
        # What a GAN has not, it cannot be told.
        told = [o for o in overrides if model != "gan" or ".warmup_steps" not in o]
        config = f"--config={CONFIGS}/adaptive_density.py:{model},{options.data}"
        call("main.py", config, f"--workdir={run}", *told)
        metrics = judged if model == "gan" else ["bpd", *judged]
        call("main.py", config, f"--workdir={run}", "--mode=evaluate", *told,
             f"--metrics={','.join(metrics)}", f"--features={options.features}",
             *number)  # fmt: skip
    told = [o for o in overrides if ".data." in o or ".train." in o]
    config = f"--config={CONFIGS}/gan_likelihood.py:{options.data}"
    call("main.py", config, f"--workdir={around}", f"--config.frozen.generator={runs['gan']}",
         *told)  # fmt: skip
    call("compare.py", *runs.values(), around, f"--output={options.output}")


if __name__ == "__main__":
    main()
