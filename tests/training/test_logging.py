"""What was logged is on disk at once, once, and valid JSON."""

import json

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from gm_jax.training import logging, workdir
from gm_jax.training.logging import MetricWriter


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder):
    """The TensorBoard events in a folder (records: length, its CRC, bytes, their CRC)."""
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            found.append(event_pb2.Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
    return found


def test_a_line_is_on_disk_before_the_writer_is_closed(tmp_path):
    writer = MetricWriter(tmp_path / "new")
    writer.scalars(1, {"loss": np.float32(0.5), "kl": 2})
    assert lines(tmp_path / "new") == [{"step": 1, "loss": 0.5, "kl": 2.0}]
    writer.close()


def test_non_finite_values_are_null_in_valid_json(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.scalars(1, {"loss": float("nan"), "kl": float("inf"), "good": 1.0})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"step": 1, "loss": null, "kl": null, "good": 1.0}\n'


def test_scalars_and_images_reach_tensorboard(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.scalars(3, {"train/loss": 0.25})
        writer.image(4, "samples", np.zeros((4, 5, 1), np.uint8))
    values = {v.tag: (e.step, v) for e in events(tmp_path) for v in e.summary.value}
    assert values["train/loss"][0] == 3 and values["train/loss"][1].simple_value == 0.25
    assert values["samples"][0] == 4
    image = values["samples"][1].image
    assert (image.height, image.width) == (4, 5)


def test_an_image_of_another_kind_is_refused(tmp_path):
    with MetricWriter(tmp_path) as writer, pytest.raises(ValueError, match=r"float32\[4, 4\]"):
        writer.image(1, "samples", np.zeros((4, 4), np.float32))


def test_resuming_drops_later_and_half_written_lines(tmp_path):
    with MetricWriter(tmp_path) as writer:
        for step in (1, 2, 3):
            writer.scalars(step, {"loss": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    with MetricWriter(tmp_path) as writer:
        writer.truncate(2)
        writer.scalars(3, {"loss": 30.0})
    assert lines(tmp_path) == [
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": 2.0},
        {"step": 3, "loss": 30.0},
    ]


def test_the_line_of_a_validation_that_was_not_finished_is_dropped(tmp_path):
    for validated, kept in ((True, 3), (False, 2)):
        with MetricWriter(tmp_path / str(validated)) as writer:
            writer.scalars(1, {"validation/nats": 1.0})
            writer.scalars(2, {"loss": 1.0})
            writer.scalars(2, {"validation/nats": 1.0})
        with MetricWriter(tmp_path / str(validated)) as writer:
            writer.truncate(2, validated)
        assert len(lines(tmp_path / str(validated))) == kept


def test_tensorboard_is_told_to_hide_what_resuming_dropped(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.truncate(2)
        writer.scalars(3, {"loss": 1.0})
    starts = [e.step for e in events(tmp_path) if e.HasField("session_log")]
    assert starts == [3]


def test_truncating_after_writing_is_refused(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.scalars(1, {"loss": 1.0})
        with pytest.raises(ValueError, match="before the first"):
            writer.truncate(0)


def test_a_disabled_writer_leaves_no_trace(tmp_path):
    with MetricWriter(tmp_path, enabled=False) as writer:
        writer.truncate(0)
        writer.scalars(1, {"loss": 1.0})
        writer.image(1, "samples", np.zeros((4, 4, 1), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_appended_the_file_is_rewritten_whole(tmp_path, monkeypatch):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 5}\n')
    monkeypatch.setattr(workdir, "is_remote", lambda path: True)
    monkeypatch.setattr(logging.MetricWriter, "_show", lambda self, show: None)
    with MetricWriter(tmp_path) as writer:
        writer.truncate(1)
        writer.scalars(2, {})
        writer.scalars(3, {})
    assert lines(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_a_full_disk_ends_tensorboard_with_one_warning(tmp_path, monkeypatch, caplog):
    def full(*_, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(logging.Board, "scalar", full)
    with logging.MetricWriter(tmp_path) as writer:
        for step in range(30):
            writer.scalars(step, {"loss": 1.0})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 30
    assert ["No space left" in record.getMessage() for record in caplog.records] == [True]


def test_scalars_and_images_reach_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for _ in range(2):  # a training that goes on
        with MetricWriter(tmp_path, wandb_project="digits") as writer:
            writer.scalars(3, {"train/loss": 0.25})
            writer.image(3, "samples", np.zeros((4, 4, 3), np.uint8))
    known = (tmp_path / "wandb_id.txt").read_text().strip()
    kept = [*(tmp_path / "wandb").glob(f"offline-run-*-{known}/run-{known}.wandb")]
    assert kept and all(b"train/loss" in path.read_bytes() for path in kept)
    assert lines(tmp_path)[0] == {"step": 3, "train/loss": 0.25}


def test_a_project_without_the_library_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"'digits', but wandb is missing: pip install -e"):
        MetricWriter(tmp_path, wandb_project="digits")
    MetricWriter(tmp_path).close()
