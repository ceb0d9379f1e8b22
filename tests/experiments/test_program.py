"""The shared code of the papers' programs, and the folders from which they can be started."""

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


def test_seeds_are_whole_numbers_and_each_is_given_once():
    assert program.are_seeds(["0"]) and program.are_seeds(["3", "12"])
    for bad in ([], ["a"], ["-1"], ["1.5"], [""], ["²"], ["0", "0"], ["0", "00"]):
        assert not program.are_seeds(bad), bad


def test_a_model_ignores_overrides_of_fields_that_it_lacks(capsys):
    overrides = ["--config.train.steps=7", "--config.model.warmup_steps=3"]
    known = {
        model: program.known_overrides(f"adaptive_density.py:{model},smoke", overrides)
        for model in ("gan", "vae", "av_ade")
    }
    assert known == {"gan": overrides[:1], "vae": overrides[:1], "av_ade": overrides}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "gan,smoke has no field model.warmup_steps" in said[0]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_program_finds_the_package_from_any_folder(path):
    """The root of the repository is on the path before anything of it is imported."""
    before, found, _ = path.read_text().partition("sys.path.insert(0, str(Path(__file__).resolve()")
    depth = len(path.relative_to(FOLDER).parts)
    assert found and f".parents[{depth}]))" in path.read_text()
    assert not any(f"from {name}" in before for name in ("gm_jax", "experiments", "configs"))
