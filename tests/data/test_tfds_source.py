"""TFDS without TensorFlow: prepared data sets are read, all others are refused clearly."""

import importlib.util
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from gm_jax import data
from gm_jax.data import tfds_source

IMAGES = np.random.RandomState(0).randint(0, 256, (20, 6, 6, 3), np.uint8)


class GmJaxTiles(tfds.core.GeneratorBasedBuilder):
    """Random tiles, nothing to download."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in ("small", "large"))

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(6, 6, 3)),
            "label": tfds.features.ClassLabel(names=["dull", "bright"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 16), "test": self._generate_examples(16, 20)}

    def _generate_examples(self, start, stop):
        for index in range(start, stop):
            yield index, {"image": Image.fromarray(IMAGES[index]), "label": index % 2}


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


def rows(images):
    """Sorted, as TFDS shuffles what it prepares."""
    return sorted(image.tobytes() for image in images)


def test_a_data_set_is_prepared_and_read_without_tensorflow(data_dir, tmp_path):
    dataset = data.load("tfds:gm_jax_tiles/small", "train", cache_dir=str(tmp_path))
    assert rows(dataset.images) == rows(IMAGES[:16])
    assert (data_dir / "gm_jax_tiles" / "small" / "1.2.0" / "dataset_info.json").exists()
    assert dataset.num_classes == 2
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        index = next(i for i in range(20) if np.array_equal(IMAGES[i], image))
        assert label == index % 2


def test_a_prepared_folder_needs_no_builder_code(data_dir, tmp_path, monkeypatch):
    data.load("tfds:gm_jax_tiles", "train", cache_dir=str(tmp_path / "first"))
    (data_dir / "gm_jax_tiles").rename(data_dir / "tiles_of_mine")
    dataset = data.load("tfds:tiles_of_mine/small", "test+train[:2]", cache_dir=str(tmp_path))
    assert rows(dataset.images[:4]) == rows(IMAGES[16:])
    assert len(dataset) == 6


def test_an_unknown_data_set_names_the_closest(data_dir):
    with pytest.raises(ValueError, match=r"'cifra10'.*cifar10"):
        data.load("tfds:cifra10", "train")


def test_an_unknown_config_names_the_closest(data_dir):
    with pytest.raises(ValueError, match=r"'church'.*church_outdoor"):
        data.load("tfds:lsun/church", "train")


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="it is installed")
def test_preparing_without_tensorflow_gives_the_command(data_dir):
    with pytest.raises(ValueError, match=r"pip install -e '\.\[tfds\]'"):
        data.load("tfds:cifar10", "train")


def test_no_network_is_said_within_twenty_seconds(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    start = time.monotonic()
    with pytest.raises(ValueError, match="cannot be reached"):
        # Port 9 (discard) of this machine: nobody listens, no packet leaves it.
        tfds_source._check_network("cifar10", ["http://127.0.0.1:9/cifar10.tar.gz"])
    assert time.monotonic() - start < 20


def test_a_silent_network_is_given_up(monkeypatch):
    def unplugged(*_, **__):
        time.sleep(1)
        raise OSError("late")

    monkeypatch.setattr(tfds_source, "NETWORK_SECONDS", 0.2)
    monkeypatch.setattr(tfds_source.urllib.request, "urlopen", unplugged)
    with pytest.raises(ValueError, match="no answer in"):
        tfds_source._check_network("cifar10", ["https://example.com/cifar10.tar.gz"])
