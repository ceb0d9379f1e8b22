"""Checkpoints: the right ones are kept, what is restored is what was saved, damage is survived."""

import logging
import os

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import urllib3

from gm_jax.training import checkpoint_reading, storage
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.checkpoint_tree import MismatchError

OPTIMIZER = optax.adamax(1e-3)


def make_state(step, width=5):
    """A small state that differs from step to step, with an optimizer's and a half-width leaf."""
    kernel = jax.random.normal(jax.random.key(step), (4096, width))
    params = {"network": {"kernel": kernel, "half": jnp.full(3, step, jnp.bfloat16)}}
    return {
        "step": jnp.int32(step),
        "params": params,
        "opt_state": {"player": OPTIMIZER.init(params)},
        "ema_params": {},
    }


def make_iterator():
    return iter(grain.MapDataset.range(100).to_iter_dataset(grain.ReadOptions(0, 0)))


def template(**kwargs):
    return jax.eval_shape(lambda: make_state(0, **kwargs))


def save_all(workdir, steps, validations=None):
    """Saves steps with one batch drawn before each."""
    iterator = make_iterator()
    with Checkpoints(workdir) as checkpoints:
        for i, step in enumerate(steps):
            next(iterator)
            validation = validations[i] if validations else None
            checkpoints.save(step, make_state(step), iterator, validation)


def kept(workdir):
    return sorted(int(folder.name) for folder in (workdir / "checkpoints").iterdir())


def truncate_largest_file(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_restored_state_is_bit_identical_and_data_resume_where_they_were(tmp_path):
    save_all(tmp_path, [3, 7])
    iterator = make_iterator()
    with Checkpoints(tmp_path) as checkpoints:
        state, step = checkpoints.restore(template(), iterator)
    assert step == 7
    assert_same(state, make_state(7))
    assert next(iterator) == 2


def test_the_item_of_the_train_state_is_named_state(tmp_path):
    save_all(tmp_path, [3])
    assert (tmp_path / "checkpoints" / "3" / "state").is_dir()
    assert (tmp_path / "checkpoints" / "3" / "data").is_dir()


def test_latest_two_and_the_best_are_kept_when_later_ones_are_not_scored(tmp_path):
    save_all(tmp_path, [1, 2, 3, 4, 5, 6], [3.0, 1.0, 2.0, None, float("nan"), None])
    assert kept(tmp_path) == [2, 5, 6]
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.best_step(), checkpoints.latest_step()) == (2, 6)
        state, step = checkpoints.restore(template(), which="best")
    assert step == 2
    assert_same(state, make_state(2))


def test_best_is_the_latest_where_nothing_was_scored(tmp_path):
    save_all(tmp_path, [1, 2, 3])
    assert kept(tmp_path) == [2, 3]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best_step() is None
        assert checkpoints.restore(template(), which="best")[1] == 3


def test_saving_a_saved_step_again_adds_only_the_missing_score(tmp_path):
    save_all(tmp_path, [1, 2])
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, make_state(99), make_iterator(), 1.5)
        checkpoints.save(3, make_state(3), make_iterator())
        checkpoints.save(4, make_state(4), make_iterator())
        checkpoints.save(4, make_state(4), make_iterator(), 1.0)
        checkpoints.save(4, make_state(4), make_iterator(), 9.0)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best_step() == 4
    assert kept(tmp_path) == [2, 3, 4]


def test_going_back_in_steps_is_refused(tmp_path):
    save_all(tmp_path, [5])
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match=r"step 4 .* step 5"):
        checkpoints.save(4, make_state(4))


def test_truncated_latest_is_stepped_over_moved_aside_and_saved_again(tmp_path, caplog):
    save_all(tmp_path, [1, 2])
    truncate_largest_file(tmp_path / "checkpoints" / "2" / "state")
    iterator = make_iterator()
    with Checkpoints(tmp_path) as checkpoints:
        state, step = checkpoints.restore(template(), iterator)
        assert step == checkpoints.latest_step() == 1
        assert_same(state, make_state(1))
        assert next(iterator) == 1
        checkpoints.save(2, make_state(2), iterator)
    named = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert str(tmp_path / "checkpoints" / "2") in named[0]
    assert (tmp_path / "damaged_checkpoints" / "2-1" / "state").is_dir()
    with Checkpoints(tmp_path) as checkpoints:
        assert_same(checkpoints.restore(template())[0], make_state(2))


@pytest.mark.parametrize("name", ["state/_METADATA", "data/process_0-of-1.json"])
def test_an_emptied_small_file_is_damage_too(tmp_path, name):
    save_all(tmp_path, [1, 2])
    (tmp_path / "checkpoints" / "2" / name).write_bytes(b"")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(template(), make_iterator())[1] == 1


def test_a_damaged_score_costs_only_the_score(tmp_path):
    save_all(tmp_path, [1, 2], [2.0, 1.0])
    (tmp_path / "checkpoints" / "2" / "metrics" / "metrics").write_bytes(b"")
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.best_step(), checkpoints.latest_step()) == (1, 2)


def test_only_damaged_checkpoints_are_an_error_and_stay_where_they_are(tmp_path):
    save_all(tmp_path, [1, 2])
    for step in "12":
        truncate_largest_file(tmp_path / "checkpoints" / step / "state")
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(ValueError, match=r"steps 2, 1.*--workdir"),
    ):
        checkpoints.restore(template())
    assert kept(tmp_path) == [1, 2]


def test_another_shape_dtype_or_tree_is_a_refusal_and_no_damage(tmp_path):
    save_all(tmp_path, [1, 2])
    wider = template(width=6)
    double = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float16), template())
    with Checkpoints(tmp_path) as checkpoints:
        for other, text in [
            (wider, r"network/kernel: float32\[4096, 5\] saved, float32\[4096, 6\] expected"),
            (double, "float16"),
            (template() | {"more": wider["step"]}, "more: absent saved"),
        ]:
            with pytest.raises(MismatchError, match=text):
                checkpoints.restore(other)
    assert kept(tmp_path) == [1, 2]


def test_what_a_killed_save_left_is_ignored_and_its_step_saved_again(tmp_path):
    save_all(tmp_path, [1])
    leftover = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    (leftover / "state").mkdir(parents=True)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.restore(template())[1] == 1
        assert leftover.exists()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 1
        checkpoints.save(2, make_state(2))
    assert kept(tmp_path) == [1, 2]


@pytest.mark.parametrize("count", [8, 1])
def test_saved_on_four_devices_restores_on_others(tmp_path, count):
    def sharding(devices):
        mesh = jax.make_mesh((devices,), ("x",), (jax.sharding.AxisType.Auto,))
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, jax.device_put(make_state(1), sharding(4)))
    placed = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding(count)), template()
    )
    with Checkpoints(tmp_path) as checkpoints:
        state, _ = checkpoints.restore(placed)
        unplaced, _ = checkpoints.restore(template())
    assert_same(state, make_state(1))
    assert_same(unplaced, make_state(1))
    assert {leaf.sharding for leaf in jax.tree.leaves(state)} == {sharding(count)}
    assert not jax.tree.leaves(unplaced)[0].committed


def make_unreadable(path):
    """A link to itself: opening it is an error of the file system, and no missing file."""
    content = path.read_bytes()
    path.unlink()
    path.symlink_to(path)
    return content


def test_a_store_that_fails_for_a_while_is_asked_again(tmp_path, monkeypatch):
    save_all(tmp_path, [1, 2])
    path = tmp_path / "checkpoints" / "2" / "data" / "process_0-of-1.json"
    content = make_unreadable(path)

    def mend(warning, *_):
        assert "trying again" in warning
        path.unlink()
        path.write_bytes(content)

    monkeypatch.setattr(checkpoint_reading._log, "warning", mend)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(template(), make_iterator())[1] == 2
    assert not path.is_symlink()


def test_a_store_that_goes_on_failing_is_an_error_and_no_damage(tmp_path, monkeypatch):
    save_all(tmp_path, [1, 2])
    make_unreadable(tmp_path / "checkpoints" / "2" / "data" / "process_0-of-1.json")
    monkeypatch.setattr(checkpoint_reading, "_PAUSES", (0.01, 0.01))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(OSError, match=r"/2 cannot be read"):
        checkpoints.restore(template(), make_iterator())
    assert kept(tmp_path) == [1, 2] and not (tmp_path / "damaged_checkpoints").exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError("peer"), False),
        (TimeoutError(), False),
        (PermissionError(13, "denied"), False),
        (ValueError("PERMISSION_DENIED: Error opening zarr array"), False),
        (urllib3.exceptions.ProtocolError("broken"), False),
        (ValueError("DATA_LOSS: Error reading zarr array"), True),
        (FileNotFoundError("_METADATA"), True),
        (KeyError("params"), True),
    ],
)
def test_only_an_error_of_the_bytes_is_damage(error, expected):
    assert checkpoint_reading.is_damage(error) is expected
    try:
        raise RuntimeError("while restoring") from error
    except RuntimeError as wrapped:
        assert checkpoint_reading.is_damage(wrapped) is expected


def test_reading_only_writes_nothing_even_past_damage(tmp_path):
    save_all(tmp_path, [1, 2])
    truncate_largest_file(tmp_path / "checkpoints" / "2" / "state")
    before = sorted(tmp_path.rglob("*"))
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.restore(template())[1] == 1
        with pytest.raises(ValueError, match="reading only"):
            checkpoints.save(3, make_state(3))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_reader_opened_before_a_live_run_replaced_everything_finds_the_newest(tmp_path):
    save_all(tmp_path, [1, 2])
    with Checkpoints(tmp_path, read_only=True) as reader:
        save_all(tmp_path, [3, 4, 5])
        assert reader.restore(template())[1] == 5


def test_an_empty_work_directory_has_no_checkpoint(tmp_path):
    with Checkpoints(tmp_path / "none", read_only=True) as checkpoints:
        assert checkpoints.latest_step() is None
        with pytest.raises(ValueError, match=r"no checkpoint in .*train first"):
            checkpoints.restore(template())
    assert not (tmp_path / "none").exists()


def test_a_save_that_reads_back_otherwise_is_refused(tmp_path):
    state, iterator = make_state(1), make_iterator()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, iterator)
        checkpoints.verify(1, state, iterator)
        with pytest.raises(ValueError, match=rf"{tmp_path}: its storage .*step.*Give a --wor"):
            checkpoints.verify(1, state | {"step": jnp.int32(2)}, iterator)
        next(iterator)
        with pytest.raises(ValueError, match="the position in the data is"):
            checkpoints.verify(1, state, iterator)


@pytest.mark.parametrize("name", ["back\\slash", "[brackets]"])
def test_a_work_directory_whose_name_the_storage_cannot_read_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"--workdir=.* cannot hold checkpoints"):
        storage.probe(tmp_path / name)
    assert not (tmp_path / name / ".probe").exists()


def test_a_work_directory_that_can_be_read_is_left_as_it_was(tmp_path):
    storage.probe(tmp_path / "ä b#?%20")
    assert not [*(tmp_path / "ä b#?%20").iterdir()]


def test_a_save_that_cannot_be_written_is_an_error_that_names_its_folder(tmp_path, monkeypatch):
    def full(*args, **options):
        raise RuntimeError("No space left on device")

    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(type(checkpoints._manager), "save", full)
        with pytest.raises(OSError, match=rf"{tmp_path}: .* cannot be written \(No space left"):
            checkpoints.save(1, make_state(1))
