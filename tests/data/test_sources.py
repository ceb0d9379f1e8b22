"""Images by source: what each source gives, what is cached and what is refused."""

import io
import json
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gm_jax import data
from gm_jax.data import reader

PIXELS = np.random.RandomState(0).randint(0, 256, (12, 6, 9, 3), np.uint8)


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def pictures(tmp_path):
    """Eight PNG files of 6×9 pixels in two classes, four in a split without classes."""
    for index in range(8):
        save(tmp_path / "set" / "train" / ("dog", "cat")[index % 2] / f"{index}.png", PIXELS[index])
    for index in range(8, 12):
        save(tmp_path / "set" / "test" / f"{index}.png", PIXELS[index])
    return tmp_path / "set"


@pytest.fixture
def archive(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "set.npz", **arrays)
        return f"npz:{tmp_path / 'set.npz'}"

    return write


def test_digits_are_split_without_overlap_and_without_loss(cache):
    from sklearn.datasets import load_digits

    splits = [
        data.load("digits", name, cache_dir=cache) for name in ("train", "validation", "test")
    ]
    assert [len(split) for split in splits] == [1437, 180, 180]
    assert {(split.levels, split.num_classes, split.image_shape) for split in splits} == {
        (17, 10, (8, 8, 1))
    }
    bunch = load_digits()
    expected = sorted(zip(map(bytes, bunch.images.astype(np.uint8)), bunch.target, strict=True))
    found = [pair for s in splits for pair in zip(map(bytes, s.images), s.labels, strict=True)]
    assert sorted(found) == expected


def test_augmented_digits_are_training_digits_half_of_them_bent(cache):
    train = data.load("digits", "train", cache_dir=cache)
    augmented = data.load("digits", "train_augmented", cache_dir=cache)
    assert (len(augmented), augmented.levels, augmented.images.max()) == (8 * len(train), 17, 16)
    copies = np.asarray(augmented.images, np.int64).reshape(8, *train.images.shape)
    np.testing.assert_array_equal(augmented.labels.reshape(8, -1), [train.labels] * 8)
    np.testing.assert_array_equal(copies[:4], [train.images] * 4)
    bent = copies[4:]
    errors = [np.abs(bent - np.roll(train.images, shift, 0)).mean() for shift in (0, 1)]
    assert errors[0] < errors[1] / 2  # nearer to their own digit than to the next
    assert bent.mean() == pytest.approx(train.images.mean(), rel=0.03)
    assert (bent[0] != bent[1]).any((1, 2, 3)).mean() > 0.99


def test_a_warp_that_moves_nothing_gives_the_digit_back(cache, monkeypatch):
    from gm_jax.data import digits

    monkeypatch.setattr(digits, "_WARP_CELLS", 0.0)
    images = data.load("digits", "test", cache_dir=cache).images[..., 0]
    bent = digits.warp(images, np.random.RandomState(0)).astype(np.float64)
    assert np.abs(bent - images).mean() < 0.6  # of 16: the bitmap is guessed


@pytest.mark.parametrize("axis", [0, 1])
def test_a_constant_displacement_of_four_cells_moves_a_digit_by_a_pixel(axis):
    from gm_jax.data import digits

    class Amplitudes:
        def __init__(self, cells):
            self.cells = cells

        def normal(self, mean, std, shape):
            amplitudes = np.zeros(shape)
            amplitudes[axis, :, 0, 0] = self.cells
            return amplitudes

    image = np.zeros((1, 8, 8), np.uint8)
    image[0, 2:6, 3:5] = [[16, 9], [4, 16], [12, 2], [7, 16]]
    still, moved = (digits.warp(image, Amplitudes(cells))[0] for cells in (0, 4))
    assert still.any()
    np.testing.assert_array_equal(moved, np.roll(still, -1, axis))


def test_photographs_of_one_split_are_in_no_other(cache):
    splits = [
        data.load("photos", name, cache_dir=cache) for name in ("train", "validation", "test")
    ]
    crops = [{crop.tobytes() for crop in split.images} for split in splits]
    assert not crops[0] & crops[1] | crops[0] & crops[2] | crops[1] & crops[2]
    assert {split.image_shape for split in splits} == {(32, 32, 3)}
    assert len(splits[0]) > 2000 and min(len(split) for split in splits[1:]) > 100
    # Coloured, and no crop of a held-out split is a shifted copy: they are all distinct.
    assert all(np.ptp(split.images.mean((0, 1, 2))) > 5 for split in splits)


def test_a_folder_gives_every_file_once_with_sorted_classes_as_labels(pictures, cache):
    dataset = data.load(f"folder:{pictures}", "train", cache_dir=cache)
    numbers = [int(np.flatnonzero((image == PIXELS).all((1, 2, 3)))[0]) for image in dataset.images]
    # Fixed for ever: every process of a pod, and every later run, sees this order.
    assert numbers == [4, 5, 3, 6, 7, 1, 2, 0]
    np.testing.assert_array_equal(dataset.labels, [(number + 1) % 2 for number in numbers])
    assert (dataset.labels.dtype, dataset.num_classes, dataset.levels) == (np.int32, 2, 256)
    test = data.load(f"folder:{pictures}", "test", cache_dir=cache)
    assert test.labels is None


def test_slices_of_a_folder_have_all_its_classes(tmp_path, cache):
    for name in ("first", "second", "third"):
        for number, pixels in enumerate(PIXELS):
            save(tmp_path / "images" / "train" / name / f"{number}.png", pixels)
    for split in ("train[:75%]", "train[75%:]"):
        labels = data.load(f"folder:{tmp_path}/images", split, cache_dir=cache).labels
        assert set(labels) == {0, 1, 2}


def test_an_archive_gives_its_splits_by_number_and_by_name(archive, cache):
    split = np.array([0, 1, 2] * 4)
    names = np.array(["train", "test", "validation"])[split]
    for values in (split, split.astype(np.uint8), names, names.astype("S")):
        name = archive(image=PIXELS, label=np.arange(12), split=values)
        dataset = data.load(name, "test", cache_dir=cache)
        np.testing.assert_array_equal(dataset.images, PIXELS[1::3])
        np.testing.assert_array_equal(dataset.labels, [1, 4, 7, 10])


def test_a_grey_archive_gets_a_channel_axis_and_its_levels(archive, cache):
    name = archive(image=PIXELS[..., 0] % 5, levels=5)
    dataset = data.load(name, "train", cache_dir=cache)
    np.testing.assert_array_equal(dataset.images, PIXELS[..., :1] % 5)
    assert (dataset.levels, dataset.labels, dataset.num_classes) == (5, None, None)


def test_an_archive_larger_than_a_chunk_comes_whole(archive, cache, monkeypatch):
    from gm_jax.data import npz

    monkeypatch.setattr(npz, "_CHUNK_BYTES", 400)
    name = archive(image=PIXELS, split=np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]))
    dataset = data.load(name, "test", cache_dir=cache)
    np.testing.assert_array_equal(dataset.images, PIXELS[[1, 4, 11]])


def test_real_images_come_unchanged(real_data, cache):
    path = real_data / "cifar10_lossless.npz"
    dataset = data.load(f"npz:{path}", "test[:10]", cache_dir=cache)
    with np.load(path) as arrays:
        chosen = np.flatnonzero(arrays["split"] == 1)[:10]
        np.testing.assert_array_equal(dataset.images, arrays["image"][chosen])
        np.testing.assert_array_equal(dataset.labels, arrays["label"][chosen])


def test_images_are_decoded_once_and_mapped(pictures, cache, monkeypatch):
    first = data.load(f"folder:{pictures}", "train", cache_dir=cache)
    assert isinstance(first.images, np.memmap)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("decoded again"))
    again = data.load(f"folder:{pictures}", "train", cache_dir=cache)
    np.testing.assert_array_equal(first.images, again.images)


def test_where_there_is_no_terminal_lines_say_how_far_a_long_decoding_is(
    pictures, cache, monkeypatch, caplog
):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(reader, "_SECONDS", 0.0)
    source = f"folder:{pictures}"
    count = len(data.load(source, "train", cache_dir=cache))
    counted = [f"decoding {source} train: {number} of {count} images" for number in (1, count)]
    assert set(counted) <= set(caplog.messages)
    caplog.clear()
    monkeypatch.setattr(reader, "_SECONDS", 30.0)
    data.load(source, "test", cache_dir=cache)
    assert not caplog.messages


def test_all_slices_of_a_split_share_one_cache(pictures, tmp_path, cache):
    whole = data.load(f"folder:{pictures}", "train", cache_dir=cache)
    for split, rows in (("train[:3]", slice(3)), ("train[50%:]", slice(4, 8))):
        part = data.load(f"folder:{pictures}", split, cache_dir=cache)
        np.testing.assert_array_equal(part.images, whole.images[rows])
        np.testing.assert_array_equal(part.labels, whole.labels[rows])
        assert isinstance(part.images, np.memmap)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_changed_file_is_decoded_anew(pictures, cache):
    data.load(f"folder:{pictures}", "test", cache_dir=cache)
    save(pictures / "test" / "8.png", 255 - PIXELS[8])
    dataset = data.load(f"folder:{pictures}", "test", cache_dir=cache)
    np.testing.assert_array_equal(dataset.images[2], 255 - PIXELS[8])  # after 10 and 11


def test_the_metadata_say_what_was_done(pictures, tmp_path, cache):
    data.load(f"folder:{pictures}", "train", resize=4, crop="center", cache_dir=cache)
    (file,) = (tmp_path / "cache").glob("*/metadata.json")
    metadata = json.loads(file.read_text())
    assert metadata["source"] == f"folder:{pictures}" and metadata["split"].startswith("train")
    assert (metadata["resize"], metadata["crop"], metadata["count"]) == (4, "center", 8)
    assert (metadata["levels"], metadata["classes"]) == (256, ["cat", "dog"])
    assert metadata["filter"]


def test_one_missing_label_leaves_a_split_without(archive, cache):
    name = archive(image=PIXELS, label=np.array([0, 1, -1] * 4), split=np.array([0, 0, 1] * 4))
    assert [*data.load(name, "train", cache_dir=cache).fields] == ["image", "label"]
    assert [*data.load(name, "test", cache_dir=cache).fields] == ["image"]
    both = data.load(name, "train+test", cache_dir=cache)
    assert (len(both), both.labels, both.num_classes) == (12, None, None)


def test_the_centre_crop_is_the_largest_central_square(archive, cache):
    dataset = data.load(archive(image=PIXELS), "train", resize=6, crop="center", cache_dir=cache)
    np.testing.assert_array_equal(dataset.images, PIXELS[:, :, 1:7])


def test_a_resize_averages_and_keeps_the_levels(archive, cache):
    image = np.zeros((1, 32, 32), np.uint8)
    image[:, ::2] = 16
    dataset = data.load(archive(image=image, levels=17), "train", resize=8, cache_dir=cache)
    np.testing.assert_array_equal(dataset.images[0, 1:-1, 1:-1], 8)  # stripes alias into 0 or 16
    edge = np.where(np.arange(32)[:, None] < 15, 16, 0) * np.ones((1, 1, 32), int)
    name = archive(image=edge.astype(np.uint8), levels=17)
    assert data.load(name, "train", resize=40, cache_dir=cache).images.max() <= 16


def _load(source, cache, results):
    results.put(data.load(source, "train", cache_dir=cache).images.tobytes())


def test_processes_that_race_for_a_cache_end_with_the_same_images(pictures, tmp_path, cache):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (f"folder:{pictures}", cache, results)
    processes = [context.Process(target=_load, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    assert len({results.get(timeout=120) for _ in processes}) == 1
    for process in processes:
        process.join()
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_failed_decoding_leaves_nothing_behind(pictures, tmp_path, cache):
    (pictures / "train" / "dog" / "9.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"9\.png"):
        data.load(f"folder:{pictures}", "train", cache_dir=cache)
    assert not list((tmp_path / "cache").iterdir())


def test_the_environment_names_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GM_JAX_CACHE", str(tmp_path / "elsewhere"))
    data.load("digits", "test", cache_dir="")
    assert list((tmp_path / "elsewhere").glob("*/images.npy"))


def test_importing_data_imports_no_source(tmp_path):
    heavy = {"sklearn", "skimage", "tensorflow_datasets"}
    code = f"import sys, gm_jax.data; print({heavy} & {{*sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_one_coloured_or_transparent_palette_is_rgb(tmp_path, cache):
    grey = Image.fromarray(PIXELS[0]).convert("P")
    (tmp_path / "set" / "train").mkdir(parents=True)
    grey.save(tmp_path / "set" / "train" / "a.png")
    save(tmp_path / "set" / "train" / "b.png", PIXELS[1])
    dataset = data.load(f"folder:{tmp_path / 'set'}", "train", cache_dir=cache)
    np.testing.assert_array_equal(dataset.images[0], np.asarray(grey.convert("RGB")))


# What is refused, and what the message must contain.


@pytest.mark.parametrize(
    ("source", "package", "install"),
    [("photos", "skimage", r"pip install -e '\.\[photos\]'"), ("digits", "sklearn", r"-e \.`")],
)
def test_a_missing_package_is_named_with_what_installs_it(
    source, package, install, cache, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(ValueError, match=f"'{package}' is not installed; run .*{install}"):
        data.load(source, "train", cache_dir=cache)


def test_an_unknown_source_names_those_that_exist():
    with pytest.raises(ValueError, match=r"'dgits'.*digits.*photos.*tfds.*folder.*npz"):
        data.load("dgits", "train", cache_dir="")


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        data.load(f"folder:{tmp_path / 'nowhere'}", "train", cache_dir="")


def test_an_empty_folder_is_refused_with_the_layout(tmp_path):
    (tmp_path / "set" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no images.*SPLIT/CLASS"):
        data.load(f"folder:{tmp_path / 'set'}", "train", cache_dir="")


@pytest.mark.parametrize("name", ["notes.txt", "torn.jpg"])
def test_a_file_that_is_no_image_is_refused_by_its_name(pictures, cache, name):
    file = pictures / "test" / name
    save(pictures / "test" / "whole.jpg", PIXELS[0])
    file.write_bytes((pictures / "test" / "whole.jpg").read_bytes()[:-300])
    with pytest.raises(ValueError, match=name):
        data.load(f"folder:{pictures}", "test", cache_dir=cache)


def test_mixed_sizes_name_two_files_and_the_option(pictures, cache):
    save(pictures / "test" / "wide.png", PIXELS[0][:, :4])
    with pytest.raises(ValueError, match=r"(?s)10\.png.*6 × 9.*wide\.png.*6 × 4.*data\.resize"):
        data.load(f"folder:{pictures}", "test", cache_dir=cache)
    dataset = data.load(f"folder:{pictures}", "test", resize=8, cache_dir=cache)
    assert dataset.images.shape == (5, 8, 8, 3)


def test_more_than_eight_bits_are_refused(tmp_path, cache):
    save(tmp_path / "set" / "train" / "deep.png", np.full((4, 4), 3000, np.uint16))
    with pytest.raises(ValueError, match=r"deep\.png.*8 bits"):
        data.load(f"folder:{tmp_path / 'set'}", "train", cache_dir=cache)


@pytest.mark.parametrize(
    "arrays,message",
    [
        ({"image": PIXELS.astype(np.float32)}, "float32.*uint8"),
        ({"image": PIXELS, "levels": 100}, "levels 0..99"),
        ({"images": PIXELS}, "'image'.*images"),
        ({"image": PIXELS, "label": np.arange(5)}, "label"),
        ({"image": PIXELS, "split": np.full(12, 7)}, "7"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(archive, cache, arrays, message):
    with pytest.raises(ValueError, match=message):
        data.load(archive(**arrays), "train", cache_dir=cache)
