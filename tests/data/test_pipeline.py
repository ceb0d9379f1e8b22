"""Batches: nothing lost, nothing twice, the same on any number of processes, resumed exactly."""

import itertools
import time

import numpy as np
import pytest

from gm_jax import data


def numbered(count, num_labels=True):
    """`count` images that carry their own number (below 256) in the left column."""
    images = np.zeros((count, 4, 4, 1), np.uint8)
    images[:, :, 0, 0] = np.arange(count)[:, None]
    labels = np.arange(count, dtype=np.int32) if num_labels else None
    return data.Dataset.of_images(images, labels, 256, count, "n", "train")


def take(batches, count):
    return list(itertools.islice(batches, count))


def same(left, right):
    return left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)


def test_every_example_comes_once_an_epoch_though_batches_straddle_epochs():
    batches = take(data.training_batches(numbered(10), batch_size=4, seed=3), 15)
    epochs = np.concatenate([batch["label"] for batch in batches]).reshape(6, 10)
    assert (np.sort(epochs) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_labels_stay_with_their_images():
    for batch in take(data.training_batches(numbered(10), batch_size=4, seed=0), 5):
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["label"])
        assert batch["image"].dtype == np.uint8 and batch["label"].dtype == np.int32
        assert batch["image"].shape == (4, 4, 4, 1)


def test_another_seed_gives_another_order():
    first, again, other = (
        next(data.training_batches(numbered(100), batch_size=50, seed=seed)) for seed in (0, 0, 1)
    )
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("process_count", [2, 4])
def test_the_slices_of_all_processes_make_the_global_batch(process_count):
    options = {"batch_size": 8, "seed": 5, "flip": True}
    whole = take(data.training_batches(numbered(11), **options), 6)
    slices = [
        take(
            data.training_batches(
                numbered(11), **options, process_index=index, process_count=process_count
            ),
            6,
        )
        for index in range(process_count)
    ]
    for step, batch in enumerate(whole):
        for key in batch:
            joined = np.concatenate([each[step][key] for each in slices])
            np.testing.assert_array_equal(joined, batch[key])


def test_flips_mirror_half_of_the_examples_and_nothing_else():
    options = {"batch_size": 100, "seed": 0}
    plain = take(data.training_batches(numbered(100), **options), 10)
    flipped = take(data.training_batches(numbered(100), **options, flip=True), 10)
    count = 0
    for left, right in zip(plain, flipped, strict=True):
        np.testing.assert_array_equal(left["label"], right["label"])
        mirrored = (right["image"] == left["image"][:, :, ::-1]).all((1, 2, 3))
        assert (mirrored | (right["image"] == left["image"]).all((1, 2, 3))).all()
        count += (mirrored & (left["label"] > 0)).sum()
    assert 430 < count < 570  # 990 fair coins, 4 standard deviations


def test_orders_and_flips_are_those_of_every_earlier_version():
    dataset, permutations = numbered(5), []
    for step, batch in enumerate(
        take(data.training_batches(dataset, batch_size=5, seed=9, flip=True), 3)
    ):
        rows = np.random.default_rng((9, step)).permutation(5)
        np.testing.assert_array_equal(batch["label"], rows)
        flipped = np.random.default_rng((9, step, 1)).random(5) < 0.5
        expected = np.where(
            flipped[:, None, None, None], dataset.images[rows][:, :, ::-1], dataset.images[rows]
        )
        np.testing.assert_array_equal(batch["image"], expected)
        permutations.append(tuple(rows))
    assert len({*permutations}) == 3


def test_flips_where_there_are_no_images_are_refused():
    with pytest.raises(ValueError, match=r"points:ring has none: set data\.flip=False"):
        data.training_batches(data.load("points:ring", "test"), batch_size=4, seed=0, flip=True)


@pytest.mark.parametrize("process_count", [1, 2])
def test_several_batches_a_step_are_consecutive_batches_of_the_run(process_count):
    options = {"batch_size": 4, "seed": 3, "process_count": process_count}
    single = take(data.training_batches(numbered(10), **options), 12)
    steps = take(data.training_batches(numbered(10), **options, batches_per_step=3), 4)
    assert all(isinstance(step, tuple) and len(step) == 3 for step in steps)
    for left, right in zip(single, itertools.chain(*steps), strict=True):
        assert same(left, right)


def test_batches_of_a_step_are_flipped_apart_and_the_first_as_ever():
    options = {"batch_size": 50, "seed": 0, "flip": True}
    steps = take(data.training_batches(numbered(50), **options, batches_per_step=2), 20)
    coins = np.array([[batch["image"][:, 0, 0, 0] == 0 for batch in step] for step in steps])
    assert abs(np.corrcoef(coins.swapaxes(0, 1).reshape(2, -1))[0, 1]) < 0.13  # 1,000 pairs
    for number, (first, _) in enumerate(steps):
        flipped = np.random.default_rng((0, number, 1)).random(50) < 0.5
        np.testing.assert_array_equal(
            first["image"][:, 0, 0, 0] == 0, flipped | (first["label"] == 0)
        )


def test_put_maps_each_batch_of_a_step_and_its_position_is_the_step():
    options = {"batch_size": 4, "seed": 1, "flip": True, "batches_per_step": 2}
    batches = data.training_batches(numbered(10), **options, put=lambda batch: {**batch, "put": 1})
    take(batches, 3)
    state = batches.get_state()
    assert state == {"next_index": 3}
    expected = next(batches)
    assert [batch["put"] for batch in expected] == [1, 1]
    restored = data.training_batches(numbered(10), **options, put=lambda batch: {**batch, "put": 1})
    restored.set_state(state)
    for left, right in zip(expected, next(restored), strict=True):
        assert same(left, right)
    batches.close()
    restored.close()


def test_no_batch_a_step_is_refused():
    with pytest.raises(ValueError, match="batches_per_step is 0; give 1 or more"):
        data.training_batches(numbered(10), batch_size=4, seed=0, batches_per_step=0)


def test_training_leaves_the_source_as_it_was():
    dataset = numbered(20)
    before = dataset.images.copy()
    for batch in take(data.training_batches(dataset, batch_size=10, seed=0, flip=True), 4):
        batch["image"][:] = 7
    np.testing.assert_array_equal(dataset.images, before)


@pytest.mark.parametrize("put", [None, lambda batch: dict(batch)], ids=["host", "put"])
def test_a_restored_position_gives_the_same_continuation(put):
    options = {"batch_size": 4, "seed": 1, "flip": True, "put": put}
    batches = data.training_batches(numbered(10), **options)
    take(batches, 7)
    time.sleep(0.05)  # a thread that runs ahead has done so by now
    state = batches.get_state()
    expected = take(batches, 5)
    restored = data.training_batches(numbered(10), **options)
    take(restored, 2)
    restored.set_state(state)
    for left, right in zip(expected, take(restored, 5), strict=True):
        assert same(left, right)
    batches.close()
    restored.close()


def test_the_position_survives_a_checkpoint(tmp_path):
    import grain
    import orbax.checkpoint as ocp

    batches = data.training_batches(numbered(10), batch_size=4, seed=1, put=dict)
    take(batches, 3)
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(batches)))
        manager.wait_until_finished()
        expected = next(batches)
        restored = data.training_batches(numbered(10), batch_size=4, seed=1, put=dict)
        manager.restore(
            3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(restored))
        )
    assert same(expected, next(restored))
    batches.close()
    restored.close()


def test_put_works_ahead_while_the_step_runs():
    started = []
    batches = data.training_batches(
        numbered(10), batch_size=4, seed=0, put=lambda batch: started.append(1) or batch
    )
    next(batches)
    deadline = time.monotonic() + 10
    while len(started) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(started) >= 2
    time.sleep(0.1)
    assert len(started) <= 3  # one waits, one is in the making, no more
    batches.close()


def test_an_error_in_put_reaches_the_caller():
    def put(batch):
        raise RuntimeError("no such device")

    batches = data.training_batches(numbered(10), batch_size=4, seed=0, put=put)
    with pytest.raises(RuntimeError, match="no such device"):
        next(batches)


def test_fewer_images_than_a_batch_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"data\.batch_size.*11.*10"):
        data.training_batches(numbered(10), batch_size=11, seed=0)


@pytest.mark.parametrize("batches", ["training", "evaluation"])
def test_a_batch_that_processes_cannot_share_is_refused(batches):
    with pytest.raises(ValueError, match=r"batch.*3 processes"):
        if batches == "training":
            data.training_batches(numbered(10), batch_size=4, seed=0, process_count=3)
        else:
            data.evaluation_batches(numbered(10), batch_size=4, process_count=3)


@pytest.mark.parametrize("count,batch_size", [(10, 4), (8, 4), (3, 4)])
def test_evaluation_counts_every_example_once_in_order(count, batch_size):
    batches = list(data.evaluation_batches(numbered(count), batch_size=batch_size))
    assert {batch["image"].shape for batch in batches} == {(batch_size, 4, 4, 1)}
    mask = np.concatenate([batch["mask"] for batch in batches])
    for key in ("index", "label"):
        values = np.concatenate([batch[key] for batch in batches])
        np.testing.assert_array_equal(values[mask], np.arange(count))
        assert values.dtype == np.int32
    assert mask.dtype == bool


def test_evaluation_slices_of_all_processes_make_the_global_batch():
    whole = list(data.evaluation_batches(numbered(10), batch_size=4))
    slices = [
        list(data.evaluation_batches(numbered(10), batch_size=4, process_index=i, process_count=2))
        for i in range(2)
    ]
    assert [len(each) for each in slices] == [3, 3]
    for batch, *parts in zip(whole, *slices, strict=True):
        for key in batch:
            np.testing.assert_array_equal(np.concatenate([p[key] for p in parts]), batch[key])


def test_without_labels_batches_have_none():
    dataset = numbered(10, num_labels=False)
    assert set(next(data.training_batches(dataset, batch_size=4, seed=0))) == {"image"}
    batch = next(iter(data.evaluation_batches(dataset, batch_size=4)))
    assert set(batch) == {"image", "index", "mask"}
