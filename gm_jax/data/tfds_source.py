"""Any TFDS image data set, read as array_record without TensorFlow."""

import difflib
import importlib.util
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from etils import epath
from PIL import Image

from gm_jax.borders import reading
from gm_jax.data.fields import image_spec
from gm_jax.data.pictures import picture_to_array
from gm_jax.data.reader import UNDECODED, Example, Reader

Builder = Any  # of TFDS, which has no types
NETWORK_SECONDS = 12.0
_CHUNK = 256


def _data_dir() -> epath.Path:
    """Returns the folder of prepared data: $TFDS_DATA_DIR, else TFDS's own default."""
    return epath.Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _prepared_folder(name: str) -> epath.Path | None:
    """Returns the newest version of NAME[/CONFIG][:VERSION] that lies prepared, if any does."""
    name, _, version = name.partition(":")
    folder = _data_dir() / name
    versions = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        numbered = re.fullmatch(r"\d+\.\d+\.\d+", entry.name)
        if numbered and version in ("", entry.name) and (entry / "dataset_info.json").exists():
            versions.append(entry)
    return max(versions, key=lambda entry: [int(n) for n in entry.name.split(".")], default=None)


def _check_name(name: str) -> None:
    """Refuses a data set or a configuration that TFDS does not know, with the closest names."""
    import tensorflow_datasets as tfds

    dataset, _, config = name.partition(":")[0].partition("/")
    # Listing community data sets would ask the network.
    known = tfds.list_builders(with_community_datasets=False)
    prepared = [entry.name for entry in _data_dir().iterdir()] if _data_dir().is_dir() else []
    if dataset not in known:
        close = difflib.get_close_matches(dataset, sorted({*known, *prepared}), n=5, cutoff=0.5)
        raise ValueError(
            f"no TFDS data set {dataset!r}, nor is one prepared in {_data_dir()}; the closest "
            f"names: {', '.join(close) or 'none'}"
        )
    configs = sorted(tfds.builder_cls(dataset).builder_configs)
    if config and config not in configs:
        close = difflib.get_close_matches(config, configs, n=5, cutoff=0.4) or configs[:10]
        raise ValueError(
            f"TFDS data set {dataset!r} has no configuration {config!r}; the closest names: "
            f"{', '.join(close) or 'none, it has no configurations'}"
        )


def _missing_urls(builder: Builder) -> list[str]:
    """Returns the registered archives that are neither downloaded nor in downloads/manual."""
    from tensorflow_datasets.core.download import resource

    downloads = epath.Path(builder.data_dir_root) / "downloads"
    present = {path.name for path in downloads.glob("**/*")} if downloads.is_dir() else set()
    config = builder.builder_config.name if builder.builder_config else ""
    # TFDS registers the archives of all configurations together.
    registered = builder.url_infos or {}
    urls = [url for url in registered if config and config in url]
    missing = []
    for url in urls or registered:
        information = registered[url]
        names = {information.filename, resource.get_dl_fname(url, information.checksum)}
        if not names & present:
            missing.append(url)
    return missing


def _silence(url: str) -> str:
    """Returns why a host cannot be reached, '' where it answers anything at all."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=NETWORK_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        # Any answer of the host will do; these are a proxy's, which could not reach it.
        return f"proxy says {error.code}" if error.code in (407, 502, 503, 504) else ""
    except OSError as error:
        return str(error)


def _check_network(name: str, urls: list[str]) -> None:
    """Refuses to download without a network: TFDS itself would retry for many minutes."""
    hosts = {urlsplit(url).netloc: url for url in urls}
    reasons = dict.fromkeys(hosts, f"no answer in {NETWORK_SECONDS:g} s")

    def ask(host: str, url: str) -> None:
        reasons[host] = _silence(url)

    # Looking up a name has no time limit of its own, hence daemon threads and one limit over all.
    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in hosts.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + NETWORK_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = [f"{host} ({reason})" for host, reason in sorted(reasons.copy().items()) if reason]
    if silent:
        raise ValueError(
            f"tfds:{name} is not prepared in {_data_dir()}, and {', '.join(silent)} cannot be "
            "reached; prepare it where there is a network and copy the folder, or put its "
            f"archives into {_data_dir() / 'downloads' / 'manual'}: {', '.join(urls)}"
        )


def _prepare(name: str) -> Builder:
    """Returns the builder of a registered data set, preparing it where it is not prepared."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=_data_dir(), file_format="array_record")
    if builder.is_prepared():
        return builder
    missing = _missing_urls(builder)
    # Stock builders read their archives with TensorFlow; a user's own may do without.
    stock = type(builder).__module__.startswith("tensorflow_datasets.")
    if stock and importlib.util.find_spec("tensorflow") is None:
        hosts = sorted({urlsplit(url).netloc for url in missing})
        network = f" and a network that reaches {', '.join(hosts)}" if hosts else ""
        raise ValueError(
            f"tfds:{name} is not prepared in {_data_dir()}, and preparing it needs TensorFlow"
            f"{network}: pip install -e '.[tfds]' (reading it afterwards does not)"
        )
    _check_network(name, missing)
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_config=config, file_format="array_record")
    return builder


def _find_builder(name: str) -> Builder:
    """Returns a builder whose data lie prepared as array_record."""
    import tensorflow_datasets as tfds

    folder = _prepared_folder(name)
    if folder is not None:
        with reading(f"tfds:{name}, in {folder},", "prepare it anew"):
            builder = tfds.builder_from_directory(folder)
    else:
        _check_name(name)
        builder = _prepare(name)
    file_format = builder.info.file_format.value
    if file_format != "array_record":
        raise ValueError(
            f"tfds:{name} lies in {builder.data_dir} as {file_format}, which cannot be read in any "
            "order; set TFDS_DATA_DIR to another folder to prepare it there as array_record"
        )
    return builder


def _label_key(features: Mapping[str, Any]) -> str | None:
    """Returns the feature that is the class: 'label', or the only one of its kind."""
    import tensorflow_datasets as tfds

    keys = [key for key, value in features.items() if isinstance(value, tfds.features.ClassLabel)]
    if "label" in keys:
        return "label"
    return keys[0] if len(keys) == 1 else None


def _image_key(features: Mapping[str, Any], name: str) -> str:
    """Returns the feature that is the image: 'image', or the only one of its kind."""
    import tensorflow_datasets as tfds

    def is_image(feature: Any) -> bool:
        tensor = isinstance(feature, tfds.features.Tensor) and len(feature.shape) == 3
        image = isinstance(feature, tfds.features.Image) or tensor
        return image and feature.np_dtype == np.uint8

    keys = [key for key, feature in features.items() if is_image(feature)]
    if "image" not in keys and len(keys) != 1:
        raise ValueError(f"tfds:{name} has no single uint8 image; its features: {list(features)}")
    return "image" if "image" in keys else keys[0]


def open_tfds(name: str) -> Reader:
    """Returns the reader of a TFDS data set by NAME[/CONFIG][:VERSION].

    Data prepared as array_record are read where they lie, also those of builders that this
    process does not know. Otherwise they are prepared first; the archives of a stock data set
    are found in downloads/manual or downloaded, and always verified.

    Raises:
      ValueError: TFDS knows no such data set (the closest names), it holds no images, or
        preparing it needs TensorFlow or a network that is not there.
    """
    builder = _find_builder(name)
    features = builder.info.features
    image_key, label_key = _image_key(features, name), _label_key(features)

    def read(split: str, start: int, stop: int) -> Iterator[Example]:
        source = builder.as_data_source(split=split)
        for first in range(start, stop, _CHUNK):
            rows = range(first, min(first + _CHUNK, stop))
            with reading(f"tfds:{name} {split}, in {builder.data_dir},", "prepare it anew"):
                examples = source.__getitems__(list(rows))
            for row, example in zip(rows, examples, strict=True):
                where = f"tfds:{name} {split} image {row}"
                image = example[image_key]
                if image.shape[-1] == 4:
                    image = picture_to_array(Image.fromarray(image), where)
                label = None if label_key is None else int(example[label_key])
                yield Example({"image": image, "label": label}, where)

    classes = None if label_key is None else tuple(features[label_key].names)
    information = epath.Path(builder.data_dir) / "dataset_info.json"
    status = information.stat()
    return Reader(
        {split: info.num_examples for split, info in builder.info.splits.items()},
        f"{builder.info.full_name} {builder.data_dir} {status.length} {status.mtime}",
        image_spec(UNDECODED, 256, classes),
        read,
    )
