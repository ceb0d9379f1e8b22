"""Table 1 of adaptive density estimation: compares its models at an equal budget.

    python experiments/adaptive_density/table_1.py [--data=DATA] [--features=classifier:WORKDIR]
        [--num_samples=1000] [--output=DIR] [--config.FIELD=VALUE …]

For every model of `configs/adaptive_density.py` it calls the command that trains it (unless it is
finished) and the one that evaluates it; then it writes comparison.md, .csv and .png (samples from
each model). The GAN's bits/dim come from an inference network trained around it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program

MODELS = ("gan", "vae", "v_ade", "av_gde", "av_ade")


def main() -> None:
    """Trains, evaluates and compares the models."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    data = ("digits", "photos", "cifar10", "smoke")
    parser.add_argument("--data", default="digits", choices=data)
    parser.add_argument("--num_samples", default="1000", help="evaluated samples per model")
    parser.add_argument(
        "--features", default="pixels", help="classifier:WORKDIR, inception, pixels"
    )
    parser.add_argument("--output", default="runs/adaptive_density-table_1")
    options, overrides = parser.parse_known_args()
    pages = {model: f"adaptive_density.py:{model},{options.data}" for model in MODELS}
    pages["gan_likelihood"] = f"gan_likelihood.py:{options.data}"
    told = {model: program.known_overrides(page, overrides) for model, page in pages.items()}
    for override in overrides:
        if not any(override in known for known in told.values()):
            parser.error(f"no model of the table has the field of {override}")
    judged = ["fid", "prd"] if options.features == "pixels" else ["fid", "is", "prd"]
    for model, page in pages.items():
        run = [
            f"--config={program.CONFIGS}/{page}",
            f"--workdir={options.output}/{model}",
            *told[model],
        ]
        metrics = judged if model == "gan" else ["bpd", *judged]
        if model == "gan_likelihood":
            run.append(f"--config.frozen.generator={options.output}/gan")
            metrics = ["bpd"]
        program.call("main.py", *run)
        program.call(
            "main.py",
            *run,
            "--mode=evaluate",
            f"--metrics={','.join(metrics)}",
            f"--features={options.features}",
            f"--num_samples={options.num_samples}",
        )
    runs = [f"{options.output}/{model}" for model in pages]
    program.call("compare.py", *runs, f"--output={options.output}")


if __name__ == "__main__":
    main()
