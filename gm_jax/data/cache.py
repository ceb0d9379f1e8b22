"""Decoded images on disk: memory-mapped, written piece by piece, renamed into place."""

import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gm_jax.data.reader import Example

# Part of every key: raise it when the files below or the decoding rules change.
_FORMAT = 1
_ABANDONED_SECONDS = 3600

# images uint8 [N, H, W, C] and labels int32 [N] or None
Arrays = tuple[np.ndarray, np.ndarray | None]


def cache_folder(cache_dir: str) -> Path:
    """Returns the folder of the cache: cache_dir, $GM_JAX_CACHE or ~/.cache/gm_jax/images."""
    chosen = cache_dir or os.environ.get("GM_JAX_CACHE") or "~/.cache/gm_jax/images"
    if "://" in chosen:
        raise ValueError(
            f"cache_dir {chosen!r} is not a local folder; the cache is memory-mapped, so give a "
            "folder on a local disk"
        )
    return Path(chosen).expanduser()


def find_or_write(
    cache_dir: str, recipe: dict, details: dict, write: Callable[[Path], dict]
) -> Path:
    """Returns the folder of the images that a recipe makes, writing it where it is missing.

    Everything is written to a folder of another name and renamed into place, so that a folder
    of the final name is always whole. Of several processes that race, one wins; the others
    drop their copy and use the winner's.

    Args:
      cache_dir: see `cache_folder`.
      recipe: JSON-able; equal recipes make equal images.
      details: JSON-able; kept beside the images, with the recipe.
      write: fills a folder and returns what the metadata shall say about it.

    Returns:
      Folder with images.npy, metadata.json and, for labelled images, labels.npy.
    """
    folder = folder_of(cache_dir, recipe)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    temporary = folder.with_name(f"{folder.name}.writing-{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        metadata = {**recipe, **details, **write(temporary)}
        (temporary / "metadata.json").write_text(json.dumps(metadata, indent=1) + "\n")
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def folder_of(cache_dir: str, recipe: dict) -> Path:
    """Returns the folder in which `find_or_write` keeps what a recipe makes."""
    text = json.dumps({"format": _FORMAT, **recipe}, sort_keys=True)
    readable = re.sub(r"\W+", "-", f"{recipe['source']}-{recipe['split']}").strip("-")[-60:]
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return cache_folder(cache_dir) / f"{readable}-{digest}"


def _remove_abandoned(folder: Path) -> None:
    """Removes what killed processes left; a living one touches its folder all the time."""
    for left in folder.parent.glob(f"{folder.name}.writing-*"):
        try:
            newest = max(file.stat().st_mtime for file in (left, *left.iterdir()))
        except FileNotFoundError:  # its owner has just renamed or removed it
            continue
        if time.time() - newest > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def write_examples(folder: Path, examples: Iterator[Example], count: int, levels: int) -> dict:
    """Writes images.npy and labels.npy, holding one image in memory at a time.

    Args:
      folder: where to.
      examples: `count` examples; all must have one shape.
      count: number of examples, known beforehand because the .npy header names it.
      levels: pixels must lie in 0..levels-1.

    Returns:
      What the metadata says: count and image_shape.

    Raises:
      ValueError: sizes or numbers of channels are mixed, a pixel is out of range, or the
        examples are not as many as announced.
    """
    labels: list[int | None] = []
    first: Example | None = None
    with open(folder / "images.npy", "wb", buffering=1 << 20) as file:
        for example in examples:
            if first is None:
                first = example
                shape = (count, *example.image.shape)
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            _check_example(example, first, levels)
            file.write(np.ascontiguousarray(example.image).data)
            labels.append(example.label)
        file.flush()
        os.fsync(file.fileno())
    if first is None or len(labels) != count:
        raise ValueError(f"the source announced {count} images and gave {len(labels)}")
    if all(label is not None and label >= 0 for label in labels):
        np.save(folder / "labels.npy", np.asarray(labels, np.int32))
    return {"count": count, "image_shape": list(first.image.shape)}


def _check_example(example: Example, first: Example, levels: int) -> None:
    """Refuses an image whose dtype, channels, size or range is not the one of the others."""
    image, name = example.image, example.name
    if image.dtype != np.uint8 or image.ndim != 3 or image.size == 0:
        raise ValueError(f"{name}: not uint8 [H, W, C] but {image.dtype} {list(image.shape)}")
    if image.shape[2] != first.image.shape[2]:
        raise ValueError(
            f"mixed numbers of channels: {first.name} has {first.image.shape[2]}, {name} has "
            f"{image.shape[2]}; save all images as grey or all as RGB"
        )
    if image.shape != first.image.shape:
        sizes = ["{} × {}".format(*picture.image.shape[:2]) for picture in (first, example)]
        raise ValueError(
            f"mixed sizes: {first.name} is {sizes[0]}, {name} is {sizes[1]} pixels (height × "
            "width); give data.resize a side in pixels (data.crop='center' keeps the aspect)"
        )
    if levels < 256 and image.max() >= levels:
        raise ValueError(
            f"{name}: pixel {image.max()} is not one of the {levels} levels 0..{levels - 1}"
        )


def open_images(folder: Path) -> Arrays:
    """Returns the memory-mapped images uint8 [N, H, W, C] and the labels int32 [N] or None."""
    labels = folder / "labels.npy"
    return (
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(labels) if labels.exists() else None,
    )
