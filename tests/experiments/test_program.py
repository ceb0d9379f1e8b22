"""The shared code of the papers' programs, and the folders from which they can be started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs import agave
from experiments import program
from gm_jax.training import workdir as workdirs

FOLDER = Path(program.__file__).parent
# These two have tests of their own.
PROGRAMS = [path for path in sorted(FOLDER.rglob("*.py")) if "__main__" in path.read_text()]


def test_a_page_is_found_by_method_and_variant(capsys):
    assert program.load_config("agave", "smoke", None) == agave.get_config("smoke")
    assert program.load_config("agave", "smoke", 7).train.steps == 7
    with pytest.raises(SystemExit) as end:
        program.load_config("agave", "digit", None)
    assert end.value.code == 2 and "choose among digits, photos" in capsys.readouterr().err


def test_a_training_that_is_refused_ends_the_program(tmp_path, capsys):
    with workdirs.hold(tmp_path):
        config = agave.get_config("smoke")
        workdirs.check_config(tmp_path, config)
        with pytest.raises(SystemExit) as end:
            program.train(config, tmp_path)
    assert end.value.code == 2 and "is held by a live run" in capsys.readouterr().err


def test_a_model_ignores_overrides_of_fields_that_it_lacks(capsys):
    overrides = ["--config.train.steps=7", "--config.model.warmup_steps=3"]
    known = {
        model: program.known_overrides(f"adaptive_density.py:{model},smoke", overrides)
        for model in ("gan", "vae", "av_ade")
    }
    assert known == {"gan": overrides[:1], "vae": overrides[:1], "av_ade": overrides}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "gan,smoke has no field model.warmup_steps" in said[0]


def test_numbers_divided_by_commas_are_read_and_anything_else_is_refused():
    parser = program.WholeNumbers(0, 2**32)
    assert parser.parse("0, 4294967295,7") == [0, 2**32 - 1, 7]
    for text in ("", "x", "1,", "-1", "1.5", "4294967296", "9" * 5000, "3,3", "1e3", "²"):
        with pytest.raises(ValueError, match="give whole numbers from 0 to 4294967295, each once"):
            parser.parse(text)


ENDED = """
import sys
from absl import flags
from experiments import program
from gm_jax import sweep

program.define_flags("runs/x")
program.define_seeds("0,1", "A run for each.")
for argument in sys.argv[1:]:
    sys.argv[1:] = [argument]
    try:
        program.run(lambda _: sweep.parse_grids(program.load_page("pixelcnn.py"), [argument]))
    except SystemExit as end:
        print(end.code)
print(flags.FLAGS.seeds)
"""


def test_what_a_program_does_not_take_is_a_line_and_status_2():
    mistakes = {
        "--seeds=x": "flag --seeds=x: give whole numbers from 0",
        "--seeds=": "flag --seeds=: give whole numbers from 0",
        "--steps=x": "flag --steps=x: ",
        "--step=3": "unknown flag --step; did you mean steps",
        "--qqq": "unknown flag --qqq; choose among variant, steps, output, seeds",
        "digits": "unexpected argument 'digits'",
        "--variant=smoke": "--grid=--variant=smoke: ",  # what its main raises
    }
    done = subprocess.run(
        [sys.executable, "-c", ENDED, *mistakes],
        cwd=FOLDER.parent,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["2"] * len(mistakes) + ["[0, 1]"], done.stderr
    for line, text in zip(done.stderr.splitlines(), mistakes.values(), strict=True):
        assert line.startswith(f"error: {text}")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_program_finds_the_package_from_any_folder(path):
    """The root of the repository is on the path before anything of it is imported."""
    before, found, _ = path.read_text().partition("sys.path.insert(0, str(Path(__file__).resolve()")
    depth = len(path.relative_to(FOLDER).parts)
    assert found and f".parents[{depth}]))" in path.read_text()
    assert not any(f"from {name}" in before for name in ("gm_jax", "experiments", "configs"))
