"""A work directory belongs to one live run and to one config."""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest
from ml_collections import config_dict

from configs import common, real_nvp
from gm_jax.training import workdir

HOLDER = """
import sys, time
from gm_jax.training import workdir
with workdir.hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def make_config(**changes):
    config = config_dict.ConfigDict(
        {
            "seed": 0,
            "train": common.TRAIN | {"steps": 10, "log_every_steps": 1},
            "evaluate": {"batch_size": 5},
            "sample": {"temperature": 1.0},
            "model": {"widths": (1, 2), "dropout": 0.5},
        }
    )
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config.lock()


def test_second_holder_is_refused_until_the_first_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match=rf"pid {holder.pid} on .*--workdir"),
            workdir.hold(tmp_path),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with workdir.hold(tmp_path):
        assert f"pid {os.getpid()}" in (tmp_path / ".lock").read_text()


def test_a_lock_is_free_after_its_block(tmp_path):
    for _ in range(2):
        with workdir.hold(tmp_path / "new"):
            assert f"pid {os.getpid()}" in (tmp_path / "new" / ".lock").read_text()


def test_a_bucket_is_warned_of_once(caplog):
    for _ in range(2):
        with workdir.hold("gs://bucket/run"):
            pass
    assert [r.getMessage() for r in caplog.records] == [
        "gs://bucket/run cannot be locked: start no second training there"
    ]


@pytest.mark.parametrize(
    ("scheme", "way_out"), [("gs", r"needs gcsfs.*\[gcs\]"), ("s3", "needs s3fs"), ("ftp", "give")]
)
def test_a_bucket_without_its_client_is_refused(monkeypatch, scheme, way_out):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=f"--workdir={scheme}://bucket/run.*{way_out}"):
        workdir.check_client(f"{scheme}://bucket/run")
    workdir.check_client("runs/here")


def test_same_config_is_accepted_again_with_its_tuples(tmp_path):
    workdir.check_config(tmp_path, make_config())
    saved = (tmp_path / "config.json").read_text()
    workdir.check_config(tmp_path, make_config())
    assert (tmp_path / "config.json").read_text() == saved
    assert os.listdir(tmp_path) == ["config.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"train__steps": 20},
        {"train__log_every_steps": 3},
        {"evaluate__batch_size": 7},
        {"sample__temperature": 0.5},
    ],
)
def test_length_logging_evaluation_and_sampling_may_change(tmp_path, change):
    workdir.check_config(tmp_path, make_config())
    workdir.check_config(tmp_path, make_config(**change))
    assert (tmp_path / "config.json").read_text() == workdir.to_json(make_config(**change))


def test_any_other_change_is_refused_naming_every_field_and_changes_nothing(tmp_path):
    workdir.check_config(tmp_path, make_config())
    saved = (tmp_path / "config.json").read_text()
    changed = make_config(model__dropout=0.25, model__widths=(1, 3), train__steps=20)
    with pytest.raises(ValueError, match="another --workdir") as refusal:
        workdir.check_config(tmp_path, changed)
    assert "model.dropout: 0.5 -> 0.25; model.widths: [1, 2] -> [1, 3]" in str(refusal.value)
    assert "train.steps" not in str(refusal.value)
    assert (tmp_path / "config.json").read_text() == saved


def test_a_field_that_only_one_config_has_differs(tmp_path):
    workdir.check_config(tmp_path, make_config())
    more = config_dict.ConfigDict(make_config().to_dict() | {"extra": {}})
    with pytest.raises(ValueError, match=r"extra: \(absent\) -> {}"):
        workdir.check_config(tmp_path, more)


def test_a_run_from_before_a_field_goes_on_as_it_was(tmp_path):
    """Every page has the fields that were added; earlier configs read as if they had been there."""
    config = real_nvp.get_config("smoke").unlock()
    for field in workdir.FIELDS_SINCE:
        section, name = field.split(".")
        del config[section][name]
    (tmp_path / "config.json").write_text(workdir.to_json(config))
    assert workdir.read_config(tmp_path).optimizer.warmup_steps == 0
    workdir.check_config(tmp_path, real_nvp.get_config("smoke"))
    later = real_nvp.get_config("smoke").unlock()
    later.optimizer.warmup_steps = 5
    with pytest.raises(ValueError, match=r"optimizer\.warmup_steps"):
        workdir.check_config(tmp_path, later)


def test_reading_only_compares_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="no run in"):
        workdir.check_config(tmp_path, make_config(), read_only=True)
    workdir.check_config(tmp_path, make_config())
    workdir.check_config(tmp_path, make_config(train__steps=3), read_only=True)
    assert (tmp_path / "config.json").read_text() == workdir.to_json(make_config())
    with pytest.raises(ValueError, match="seed: 0 -> 1"):
        workdir.check_config(tmp_path, make_config(seed=1), read_only=True)
