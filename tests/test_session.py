"""What cannot be done is refused at once: before images are opened, which takes seconds."""

import re
from pathlib import Path

import pytest

from configs import agave
from gm_jax import session, sweep
from gm_jax.data import image_spec
from gm_jax.training import recorded
from gm_jax.training import workdir as workdirs
from tests.support import LABELLED, SHAPE


@pytest.fixture
def no_images(monkeypatch):
    def open_run(*_):
        raise AssertionError("the images were opened")

    monkeypatch.setattr(session, "open_run", open_run)


def refusal(capsys, *arguments, **options):
    with pytest.raises(SystemExit) as end:
        session.run(*arguments, **options)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_a_second_start_in_a_held_work_directory(no_images, tmp_path, capsys):
    config = agave.get_config("smoke")
    workdirs.check_config(tmp_path, config)
    with workdirs.hold(tmp_path):
        assert "is held by a live run (pid" in refusal(capsys, config, str(tmp_path), "train")


def test_a_library_call_raises_what_the_command_refuses(no_images, tmp_path):
    config = agave.get_config("smoke")
    workdirs.check_config(tmp_path, config)
    with workdirs.hold(tmp_path):
        for train in (session.train, sweep.train):
            with pytest.raises(ValueError, match=r"is held by a live run \(pid"):
                train(config, str(tmp_path))


def test_only_the_doors_of_programs_end_a_process():
    ending = re.compile(r"SystemExit|sys\.exit|os\._exit|refusals\(")
    files = Path(session.__file__).parent.rglob("*.py")
    doors = {path.name for path in files if ending.search(path.read_text(encoding="utf-8"))}
    assert doors == {"command_line.py", "session.py"}


def test_a_run_of_another_config_and_no_run(no_images, tmp_path, capsys):
    config = agave.get_config("smoke")
    assert "no run in" in refusal(capsys, config, str(tmp_path), "sample")
    workdirs.check_config(tmp_path, config)
    other = config.copy_and_resolve_references()
    other.seed = 1
    for mode in ("train", "evaluate", "sample"):
        assert "seed: 0 -> 1" in refusal(capsys, other, str(tmp_path), mode)
    assert not list(tmp_path.glob("data.json"))


def test_a_temperature_where_nothing_is_drawn(no_images, tmp_path, capsys):
    config = agave.get_config("smoke")
    for mode in ("train", "reconstruct"):
        message = refusal(capsys, config, str(tmp_path), mode, temperature=0.5)
        assert "--temperature=0.5: only --mode=sample" in message
    assert not list(tmp_path.iterdir())


def test_a_run_on_other_images(tmp_path):
    for _ in range(2):
        recorded.record_data(tmp_path, LABELLED)
    assert recorded.read_data(tmp_path) == LABELLED
    with pytest.raises(ValueError, match=r"image.levels: 17 -> 256 \(saved -> given\)"):
        recorded.record_data(tmp_path, image_spec(SHAPE, 256, 10))


def test_without_a_folder_programs_are_not_kept_and_it_says_so(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    updates = {}
    monkeypatch.setattr(session.jax.config, "update", updates.__setitem__)
    for name, folder in (("JAX_COMPILATION_CACHE_DIR", "file/cache"), ("HOME", "file")):
        monkeypatch.setenv(name, str(tmp_path / folder))
        session.use_compilation_cache()
        assert updates.pop("jax_enable_compilation_cache") is False
        assert "Not a directory); JAX_COMPILATION_CACHE_DIR" in capsys.readouterr().err
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
