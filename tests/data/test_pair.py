"""Two unpaired domains, each seen once per epoch of its own, on any number of processes."""

import itertools

import numpy as np
import pytest

from gm_jax import data
from gm_jax.data.pair import pair_of


def numbered(count, labelled=True):
    """Images that carry their own number in the left column."""
    images = np.zeros((count, 4, 4, 1), np.uint8)
    images[:, :, 0, 0] = np.arange(count)[:, None]
    labels = np.arange(count) if labelled else None
    return data.Dataset.of_images(images, labels, 256, count, f"n{count}", "train")


def pair(first=10, second=7):
    return pair_of(numbered(first), numbered(second), "pair:a|b", "train")


def take(count, dataset, **options):
    batches = data.training_batches(dataset, **{"batch_size": 4, "seed": 3, **options})
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


@pytest.mark.parametrize("lengths", [(10, 7), (7, 10)])
def test_each_domain_comes_once_in_each_of_its_own_epochs(lengths):
    batches = take(35, pair(*lengths))
    for name, count in zip(("label", "label_b"), lengths, strict=True):
        epochs = np.concatenate([batch[name] for batch in batches]).reshape(-1, count)
        assert (np.sort(epochs) == np.arange(count)).all()
        assert len({*map(tuple, epochs)}) == len(epochs)
    assert len(pair(*lengths)) == 10


def test_the_first_domain_comes_as_it_would_alone_flips_included():
    together = take(12, pair(10, 7), flip=True)
    alone = take(12, numbered(10), flip=True)
    for left, right in zip(together, alone, strict=True):
        for name in ("image", "label"):
            np.testing.assert_array_equal(left[name], right[name])


def test_equal_domains_are_shuffled_and_flipped_apart():
    batches = take(50, pair_of(numbered(100), numbered(100), "p", "train"), batch_size=50, flip=1)
    labels = np.stack([[batch["label"], batch["label_b"]] for batch in batches])
    assert (labels[:, 0] == labels[:, 1]).mean() < 0.03
    flipped = [[(b[n][:, 0, 0, 0] == 0) for n in ("image", "image_b")] for b in batches]
    correlation = np.corrcoef(np.stack(flipped, 1).reshape(2, -1))[0, 1]
    assert abs(correlation) < 0.08  # 2,500 pairs of coins


def test_labels_stay_with_the_images_of_their_domain():
    for batch in take(8, pair(10, 7)):
        for suffix in ("", "_b"):
            images, labels = batch[f"image{suffix}"], batch[f"label{suffix}"]
            np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_slices_of_all_processes_make_the_global_batch():
    whole = take(6, pair(), flip=True)
    parts = [take(6, pair(), flip=True, process_index=i, process_count=2) for i in range(2)]
    for batch, left, right in zip(whole, *parts, strict=True):
        for name in batch:
            np.testing.assert_array_equal(np.concatenate([left[name], right[name]]), batch[name])


@pytest.mark.parametrize("lengths", [(10, 7), (7, 10), (3, 9), (8, 8)])
def test_evaluation_sees_each_image_of_each_domain_once(lengths):
    batches = list(data.evaluation_batches(pair(*lengths), batch_size=4))
    assert len(batches) == -(-max(lengths) // 4)
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    np.testing.assert_array_equal(joined["label"][joined["mask"]], np.arange(lengths[0]))
    np.testing.assert_array_equal(joined["label_b"][joined["mask_b"]], np.arange(lengths[1]))
    either = joined["mask"] | joined["mask_b"]
    np.testing.assert_array_equal(joined["index"][either], np.arange(max(lengths)))


def test_gathered_rows_of_the_shorter_domain_wrap_around():
    batch = pair(10, 7).gather(np.array([2, 8]))
    np.testing.assert_array_equal(batch["label"], [2, 8])
    np.testing.assert_array_equal(batch["label_b"], [2, 1])


def test_a_batch_longer_than_the_shorter_domain_is_refused():
    with pytest.raises(ValueError, match=r"8.*7 examples of the shorter domain.*batch_size=7"):
        data.training_batches(pair(10, 7), batch_size=8, seed=0)


@pytest.fixture
def archives(tmp_path):
    """An archive of labelled colour images and one of grey images without labels."""
    random = np.random.RandomState(0)
    split = np.array(["train", "test"] * 4)
    colour = random.randint(0, 256, (8, 6, 6, 3), np.uint8)
    np.savez(tmp_path / "a.npz", image=colour, label=np.arange(8), split=split)
    np.savez(tmp_path / "b.npz", image=colour[:6, :, :, 0] % 5, split=split[:6], levels=5)
    return f"npz:{tmp_path}/a.npz", f"npz:{tmp_path}/b.npz", str(tmp_path / "cache")


def test_sources_by_name_keep_their_own_shapes_levels_and_labels(archives):
    first, second, cache = archives
    dataset = data.load(f"pair:{first}|{second}", "test", resize=3, cache_dir=cache)
    assert [*dataset.fields] == ["image", "label", "image_b"]
    assert dataset.fields["image_b"] == data.Field((3, 3, 1), "uint8", 5)
    assert dataset.lengths == {"": 4, "_b": 3}
    alone = data.load(second, "test", resize=3, cache_dir=cache)
    np.testing.assert_array_equal(dataset.arrays["image_b"], alone.images)
    assert data.split_names(f"pair:{first}|{second}") == ["test", "train"]


def test_each_domain_may_have_a_split_of_its_own(archives):
    first, second, cache = archives
    dataset = data.load(f"pair:{first}|{second}", "train[:1]|test+train", cache_dir=cache)
    assert dataset.lengths == {"": 1, "_b": 6}


def test_two_sets_of_points_make_a_pair_of_which_each_domain_is_its_set():
    dataset = data.load("pair:points:blobs|points:ring", "train[:8]|train[8:11]")
    assert [*dataset.fields] == ["point", "label", "point_b", "label_b"]
    for domain, source in (("a", "points:blobs"), ("b", "points:ring")):
        alone = data.load(source, {"a": "train[:8]", "b": "train[8:11]"}[domain])
        found = dataset.domain(domain)
        assert found.fields == alone.fields and len(found) == len(alone)
        for name, array in alone.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("pair:digits", "train", "1 sources; give two"),
        ("pair:digits|photos|digits", "train", "3 sources; give two"),
        ("pair:digits|points:ring", "train", "points:ring is no source of images"),
        ("pair:points:ring|pair:digits|photos", "train", "3 sources; give two"),
        ("pair:digits|photo", "train", "'photo'.*photos"),
        ("pair:digits|photos", "train|test|test", "SPLIT_A|SPLIT_B"),
        ("pair:photos|digits", "train_augmented", "photos: no split 'train_augmented'"),
    ],
)
def test_pairs_that_cannot_be_had_are_refused(tmp_path, name, split, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, split, cache_dir=str(tmp_path))
