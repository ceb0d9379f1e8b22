"""Measures what each part of adaptive density estimation costs per step: time, FLOPs, memory.

    python experiments/adaptive_density/cost.py [--data=digits] [--config.FIELD=VALUE …]

It benchmarks the models with and without a part and prints the differences as a Markdown table.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program

NO_PENALTY = "--config.model.gradient_penalty=0.0"
NUMBERS = ("step_milliseconds", "gflop_per_step", "step_memory_megabytes")
# {part: (model with it, model without it)}
PARTS = {
    "VAE": (("vae",), None),
    "f_ψ": (("v_ade",), ("vae",)),
    "discriminator, without penalty": (("av_gde", NO_PENALTY), ("vae",)),
    "gradient penalty": (("av_gde",), ("av_gde", NO_PENALTY)),
    "all: av_ade": (("av_ade",), None),
}


def benchmark(model: tuple[str, ...], data: str, overrides: list[str]) -> dict[str, float]:
    """Returns the NUMBERS of a model's train step."""
    name, *changes = model
    page = f"adaptive_density.py:{name},{data}"
    changes = program.known_overrides(page, ["--config.model.warmup_steps=0", *changes, *overrides])
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        config, output = f"--config={program.CONFIGS / page}", f"--output={file.name}"
        command = [sys.executable, program.HERE / "benchmark.py", config, "--nostart", output]
        ended = subprocess.run([*command, *changes], check=False, stdout=subprocess.DEVNULL)
        if ended.returncode != 0:
            raise SystemExit(ended.returncode)  # it has said why
        result = json.loads(Path(file.name).read_text())
    return {number: result[number] for number in NUMBERS}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", default="digits", help="the config's DATA")
    options, overrides = parser.parse_known_args()
    models = {model for pair in PARTS.values() for model in pair if model}
    measured = {model: benchmark(model, options.data, overrides) for model in sorted(models)}
    print(f"| part | {' | '.join(number.replace('_', ' ') for number in NUMBERS)} |")
    print(f"|---|{'---|' * len(NUMBERS)}")
    for part, (with_it, without) in PARTS.items():
        base = measured[without] if without else dict.fromkeys(NUMBERS, 0.0)
        cells = [f"{measured[with_it][number] - base[number]:.3g}" for number in NUMBERS]
        print(f"| {part} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
