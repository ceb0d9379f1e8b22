"""The command line refuses what it does not understand in one line, with status 2."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import config_dict

from configs import pixelcnn
from gm_jax import command_line
from gm_jax.training import workdir

CONFIG = """
from ml_collections import config_dict

def get_config(variant="digits"):
    if variant == "broken":
        return {}["a real bug"]
    if variant not in ("digits", "photos"):
        raise ValueError(f"unknown variant {variant!r}; choose among digits, photos")
    config = config_dict.ConfigDict()
    config.variant = variant
    config.train = config_dict.ConfigDict({"steps": 10, "rate": 0.5, "flip": False})
    config.model = config_dict.ConfigDict({"widths": (1, 2)})
    return config.lock()
"""

MAIN = """
from absl import flags
from ml_collections import config_flags
from gm_jax import command_line
from gm_jax.training import workdir

CONFIG = config_flags.DEFINE_config_file("config")
MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "what to do")
WORKDIR = flags.DEFINE_string("workdir", None, "where")

def main(_):
    command_line.set_verbosity()
    config = CONFIG.value
    name = flags.FLAGS["config"].config_filename
    with command_line.refusals():
        if WORKDIR.value == "bug":
            int("not ours")
        if WORKDIR.value:
            workdir.check_config(WORKDIR.value, config, read_only=True)
    print(command_line.default_workdir(name, config), MODE.value, config.train.steps,
          config.train.flip, config.model.widths)

if __name__ == "__main__":
    command_line.run(main)
"""


@pytest.fixture
def call(tmp_path):
    """Runs the program above with some arguments: (exit status, stdout, stderr)."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "agave.py").write_text(CONFIG)
    (tmp_path / "main.py").write_text(MAIN)

    def call(*arguments):
        done = subprocess.run(
            [sys.executable, "main.py", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return call


AGAVE = "--config=configs/agave.py"


def test_variant_mode_and_fields_arrive(call):
    arguments = ["--config.train.steps=7", "--config.train.flip", "--config.model.widths=(3, 4)"]
    assert call(AGAVE + ":photos", "--mode=evaluate", *arguments)[:2] == (
        0,
        "runs/agave-photos evaluate 7 True (3, 4)\n",
    )
    assert call("--config", "configs/agave.py")[1] == "runs/agave-digits train 10 False (1, 2)\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([AGAVE, "--config.train.step=7"], ["train.step'", "did you mean train.steps"]),
        ([AGAVE, "--config.rate=7"], ["did you mean train.rate"]),
        ([AGAVE, "--config.train.steps=many"], ["train.steps", "many", "type int", "example 10"]),
        ([AGAVE + ":photo"], ["unknown variant 'photo'", "did you mean photos"]),
        ([AGAVE, "--wokdir=x"], ["unknown flag --wokdir", "did you mean workdir"]),
        ([AGAVE, "--mode=evaluat"], ["--mode=evaluat", "train|evaluate", "did you mean evaluate"]),
        ([AGAVE, "--config.model.widths=many"], ["model.widths", "'many'", "(1, 2)"]),
        ([AGAVE, "--config.train={}"], ["config.train is a section", "train.flip, train.rate"]),
        ([AGAVE, "--config.train.steps=1", "--config.train.steps=x"], ["train.steps", "'x'"]),
        ([AGAVE, "train"], ["unexpected argument 'train'"]),
        (["--config=configs/agave"], ["no config file", "did you mean configs/agave.py"]),
        (["--config=conf/agvae.py"], ["did you mean configs/agave.py"]),
        ([AGAVE, "--workdir=nowhere"], ["no run in", "nowhere"]),
    ],
)
def test_a_mistake_is_one_line_and_status_2(call, arguments, expected):
    status, output, error = call(*arguments)
    assert (status, output) == (2, "")
    assert error.startswith("error: ") and error.count("\n") == 1
    for part in expected:
        assert part in error


@pytest.mark.parametrize(
    ("arguments", "status"), [([], 2), (["--help"], 1)], ids=["nothing", "help"]
)
def test_without_a_config_the_pages_are_listed(call, arguments, status):
    ended, output, error = call(*arguments)
    assert ended == status  # absl's help ends with 1
    assert "configs/agave.py\n" in output  # the page of this folder, which has no docstring
    row = r"    digits \(default\) +scikit-learn's 8×8 digits, 17 levels; ≤ "
    assert re.search(r"configs/real_nvp.py\[:VARIANT\]\n  Real-NVP: .*\n" + row, output)
    hint = "error: --config is required, for example --config=configs/agave.py\n"
    assert error == ("" if arguments else hint)


@pytest.mark.parametrize("arguments", [[AGAVE + ":broken"], [AGAVE, "--workdir=bug"]])
def test_a_real_bug_keeps_its_traceback(call, arguments):
    status, _, error = call(*arguments)
    assert status == 1
    assert "Traceback" in error


def test_verbosity_shows_where_a_refusal_comes_from(call):
    status, _, error = call(AGAVE, "--workdir=nowhere", "--verbosity=1")
    assert (
        status == 2 and "check_config" in error and error.splitlines()[-1].startswith("error: no")
    )


def test_work_directory_is_named_by_config_and_variant():
    config = config_dict.ConfigDict({"variant": "digits"})
    assert command_line.default_workdir("configs/agave.py", config) == "runs/agave-digits"
    assert command_line.default_workdir("/x/agave.py:photos", config) == "runs/agave-photos"


def test_closest_names_are_found_by_their_last_part():
    names = ["train.steps", "train.seed", "optimizer.learning_rate", "model.dropout"]
    assert command_line.closest("learning_rates", names)[0] == "optimizer.learning_rate"
    assert command_line.closest("model.steps", names)[0] == "train.steps"
    assert command_line.closest("qqq", names) == []


ROOT = Path(__file__).resolve().parents[1]
MINE = """
from configs import common

PUBLISHED = {"data": common.CIFAR10, "model": {"width": 8}}
VARIANTS = {"tiny": {"model": {"width": 1}}}


def get_config(variant="tiny"):
    return common.page("mine", variant, PUBLISHED, variant=VARIANTS)
"""


def printed(folder, *arguments):
    """What `main.py --print_config` prints from a folder, where JAX cannot be imported."""
    (folder / "stub").mkdir(exist_ok=True)
    (folder / "stub" / "jax.py").write_text("raise RuntimeError('JAX is imported')")
    return subprocess.run(
        [sys.executable, ROOT / "experiments" / "main.py", "--print_config", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "stub")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("page", ["configs/pixelcnn.py", str(ROOT / "configs" / "pixelcnn.py")])
def test_the_whole_config_is_printed_from_any_folder(tmp_path, page):
    done = printed(tmp_path, f"--config={page}:smoke", "--config.train.steps=7")
    config = pixelcnn.get_config("smoke")
    config.train.steps = 7
    assert (done.returncode, done.stderr, done.stdout) == (0, "", workdir.to_json(config))


def test_a_page_of_another_folder_uses_what_the_pages_share(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").write_text(MINE)
    config = json.loads(printed(tmp_path, "--config", "configs/mine.py").stdout)
    assert config["variant"] == "tiny" and config["model"] == {"ema_decay": 0.0, "width": 1}
    refused = printed(tmp_path, "--config=configs/mine.py:tinny")
    assert refused.returncode == 2
    assert "unknown variant 'tinny'" in refused.stderr and "mean tiny?" in refused.stderr


def test_a_page_of_the_repository_is_suggested_in_any_folder(tmp_path):
    refused = printed(tmp_path, "--config=configs/pixelcn.py")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no config file" in refused.stderr and "mean configs/pixelcnn.py" in refused.stderr
    assert "not a config file" in printed(tmp_path, "--config=configs/common.py").stderr
    assert "--config is required, for example --config=configs/" in printed(tmp_path).stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/d/x"), "/d/x: No space.*make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/d"), "GM_JAX_CACHE.*JAX_COMPILATION"),
        (OSError("the disk is gone"), "error: the disk is gone"),
    ],
)
def test_what_the_system_refuses_is_a_line(capsys, error, line):
    with pytest.raises(SystemExit) as end, command_line.refusals():
        raise error
    (told,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and re.search(line, told)


STREAMS = """
import os, sys
from absl import logging
from gm_jax import command_line
command_line.open_streams()
opened = os.open(os.devnull, os.O_RDONLY)
logging.warning("a warning")
print("≤", opened > 2)
print("≤", file=sys.stderr)
"""


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&- <&-"])
def test_closed_streams_and_a_poor_terminal_do_no_harm(closed):
    root = Path(command_line.__file__).resolve().parents[1]
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, STREAMS],
        cwd=root,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (rb"\u2264 True" + b"\n" if closed == "2>&-" else b"")
