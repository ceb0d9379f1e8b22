"""One's own folder of images, as it lies there, is data."""

import numpy as np
import pytest
from PIL import Image

from configs import adaptive_density, cycle_gan, pixelcnn
from gm_jax import data
from gm_jax.training.run import open_run

RNG = np.random.default_rng(0)


def fill(folder, count, side=8):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = RNG.integers(0, 256, (side, side + 2, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def splits_of(root, cache):
    source = f"folder:{root}"
    return {
        use: data.load(source, data.split_of(source, "", use), cache_dir=str(cache))
        for use in ("train", "validation", "test")
    }


@pytest.mark.parametrize("layout", ["flat", "CLASS", "SPLIT", "SPLIT/CLASS"])
def test_every_layout_has_three_splits_that_share_no_image(tmp_path, layout):
    root = tmp_path / "mine"
    classes = ["cat", "dog"] if "CLASS" in layout else [""]
    for split in ["train", "val", "test"] if "SPLIT" in layout else [""]:
        for name in classes:
            fill(root / split / name, 15)
    found = splits_of(root, tmp_path / "cache")
    images = [{image.tobytes() for image in split.images} for split in found.values()]
    assert sum(map(len, images)) == len(set.union(*images)) == sum(map(len, found.values()))
    assert len(found["train"]) >= len(found["test"]) > 0 < len(found["validation"])
    for split in found.values():
        assert (split.labels is not None) == ("CLASS" in layout)
        assert split.classes == (("cat", "dog") if "CLASS" in layout else None)


def test_a_file_stays_in_its_split_where_others_come(tmp_path):
    fill(tmp_path / "mine", 30)
    before = splits_of(tmp_path / "mine", tmp_path / "cache")
    for number in range(30, 60):
        Image.fromarray(RNG.integers(0, 256, (8, 10, 3), np.uint8)).save(
            tmp_path / "mine" / f"{number}.png"
        )
    after = splits_of(tmp_path / "mine", tmp_path / "cache")
    for use, split in before.items():
        kept = {image.tobytes() for image in after[use].images}
        assert {image.tobytes() for image in split.images} <= kept


def test_three_files_make_three_splits_and_two_are_all_that_there_is(tmp_path):
    fill(tmp_path / "three", 3)
    assert [len(split) for split in splits_of(tmp_path / "three", tmp_path).values()] == [1, 1, 1]
    fill(tmp_path / "two", 2)
    assert data.split_names(f"folder:{tmp_path / 'two'}") == ["all"]
    with pytest.raises(ValueError, match=r"no split 'train' among all.*data.train_split"):
        splits_of(tmp_path / "two", tmp_path)


def test_a_folder_that_is_half_split_is_refused(tmp_path):
    fill(tmp_path / "mine" / "train", 2)
    fill(tmp_path / "mine" / "plane", 2)
    with pytest.raises(ValueError, match=r"plane: beside the splits train; move it into one"):
        data.load(f"folder:{tmp_path / 'mine'}", "train", cache_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("page", "variant", "sides", "expected"),
    [
        (pixelcnn, "smoke", (21, 30, 31), 30),
        (adaptive_density, "gan,digits", (21, 30, 31), 24),
        (pixelcnn, "smoke", (90, 100, 99), 64),
    ],
)
def test_images_that_differ_in_size_become_squares_that_the_model_takes(
    tmp_path, capsys, page, variant, sides, expected
):
    for split in ("train", "validation", "test"):
        for side in sides:
            fill(tmp_path / "mine" / split / str(side), 4, side)
    config = page.get_config(variant).unlock()
    config.data.update({"source": f"folder:{tmp_path / 'mine'}", "cache_dir": str(tmp_path)})
    config.data.batch_size = 8
    run = open_run(config.lock(), tmp_path / "run")
    assert run.train_data.image_shape == (expected, expected, 3)
    assert f"central squares are taken, {expected}×{expected} pixels" in capsys.readouterr().err


def test_a_pair_of_such_folders_gets_one_size(tmp_path, capsys):
    for name, sides in {"horses": (17, 18), "zebras": (21, 30)}.items():
        for side in sides:
            fill(tmp_path / name / str(side), 40, side)
    config = cycle_gan.get_config("smoke").unlock()
    source = f"pair:folder:{tmp_path / 'horses'}|folder:{tmp_path / 'zebras'}"
    config.data.update({"source": source, "cache_dir": str(tmp_path), "batch_size": 8})
    fields = open_run(config.lock(), tmp_path / "run").train_data.fields
    assert fields["image"].shape == fields["image_b"].shape == (17, 17, 3)
    assert "central squares are taken, 17×17 pixels" in capsys.readouterr().err
