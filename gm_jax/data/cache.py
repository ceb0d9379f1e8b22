"""Decoded examples on disk: memory-mapped, written piece by piece, renamed into place."""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gm_jax.borders import described, writing
from gm_jax.data.dataset import digest_of
from gm_jax.data.fields import DataSpec, Field, is_image
from gm_jax.data.reader import Example

_log = logging.getLogger(__name__)

# Part of every key: increase it when the files below or the decoding rules change.
_FORMAT = 1
_ABANDONED_SECONDS = 3600

# {field: its file}; the file of any other field has the field's name.
_FILES = {"image": "images", "label": "labels"}


def cache_folder(cache_dir: str) -> Path:
    """Returns the folder of the cache: cache_dir, $GM_JAX_CACHE or ~/.cache/gm_jax/images."""
    chosen = cache_dir or os.environ.get("GM_JAX_CACHE") or "~/.cache/gm_jax/images"
    if "://" in chosen:
        raise ValueError(
            f"cache_dir {chosen!r} is not a local folder; the cache is memory-mapped, so give a "
            "folder on a local disk"
        )
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:  # nobody's home
        raise ValueError(
            f"no folder for images ({described(error)}): set GM_JAX_CACHE, or data.cache_dir"
        ) from None


def find_or_write(
    cache_dir: str, recipe: dict, details: dict, write: Callable[[Path], dict]
) -> Path:
    """Returns the folder of a recipe's examples, and writes it if it is missing.

    Everything is written to a folder with another name and renamed into place, so that a folder
    with the final name is complete. If several processes race, one wins; the others drop their copy
    and use the winner's. A folder that was truncated or damaged later (`damage`) is written again,
    which is reported in a line.

    Args:
      cache_dir: see `cache_folder`.
      recipe: JSON; equal recipes make equal examples.
      details: JSON; stored beside the examples, with the recipe.
      write: fills a folder and returns its metadata.

    Returns:
      Folder with metadata.json and a file for every field: images.npy, labels.npy, ...

    Raises:
      ValueError: it cannot be written, or from `write`.
    """
    folder = folder_of(cache_dir, recipe)
    damaged = damage(folder)
    if damaged is None:
        return folder
    try:
        if folder.is_dir():
            _log.warning("%s is damaged (%s) and is written anew", folder, damaged)
            aside = folder.with_name(f"{folder.name}.writing-{uuid.uuid4().hex}")
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                folder.rename(aside)  # whoever maps its files keeps them
            shutil.rmtree(aside, ignore_errors=True)
        return _written(folder, recipe, details, write)
    except OSError as error:
        raise ValueError(
            f"decoded images cannot be written to {folder.parent} ({described(error)}): make room "
            "there, or set GM_JAX_CACHE, or data.cache_dir, to another folder"
        ) from error


def _written(folder: Path, recipe: dict, details: dict, write: Callable[[Path], dict]) -> Path:
    """Fills a folder under another name, and renames it into place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    temporary = folder.with_name(f"{folder.name}.writing-{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        metadata = {**recipe, **details, **write(temporary)}
        metadata["files"] = {file.name: file.stat().st_size for file in temporary.iterdir()}
        (temporary / "metadata.json").write_text(json.dumps(metadata, indent=1) + "\n")
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def damage(folder: Path) -> str | None:
    """What is wrong with a folder that `find_or_write` filled; None if it is unchanged.

    The sizes of its files tell, and their heads; of all those bytes nothing is read.
    """
    try:
        metadata = json.loads((folder / "metadata.json").read_text())
        sizes, digests = metadata.get("files"), metadata.get("digests", {})
        if not isinstance(digests, dict):
            return "metadata.json names no digests"
        if sizes is None:  # from a version before they were recorded
            names = [key.removesuffix("_shape") for key in metadata if key.endswith("_shape")]
            sizes = {_file(folder, name).name: None for name in names}
        for name, size in sizes.items():
            found = (folder / name).stat().st_size
            if size is not None and found != size:
                return f"{name} has {found} bytes, not {size}"
        for file in folder.glob("*.npy"):
            np.lib.format.open_memmap(file, "r")
    except Exception as error:  # whatever JSON and NumPy raise
        return described(error)
    return None


def folder_of(cache_dir: str, recipe: dict) -> Path:
    """Returns the folder in which `find_or_write` stores a recipe's examples."""
    text = json.dumps({"format": _FORMAT, **recipe}, sort_keys=True)
    readable = re.sub(r"\W+", "-", f"{recipe['source']}-{recipe['split']}").strip("-")[-60:]
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return cache_folder(cache_dir) / f"{readable}-{digest}"


def _remove_abandoned(folder: Path) -> None:
    """Removes what killed processes left behind; a live one keeps touching its folder."""
    for left in folder.parent.glob(f"{folder.name}.writing-*"):
        try:
            newest = max(file.stat().st_mtime for file in (left, *left.iterdir()))
        except FileNotFoundError:  # its owner has just renamed or removed it
            continue
        if time.time() - newest > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _file(folder: Path, name: str) -> Path:
    """Returns the file of a field; those of images and labels predate fields."""
    return folder / f"{_FILES.get(name, name)}.npy"


def write_examples(
    folder: Path, examples: Iterator[Example], count: int, fields: DataSpec
) -> dict[str, Any]:
    """Writes a file for every field, with one example in memory at a time.

    If any example lacks a label, the labels are dropped.

    Args:
      folder: the folder to write to.
      examples: `count` examples, all with the same shape.
      count: number of examples, which the .npy header needs beforehand.
      fields: fields of the examples; pixels must be in 0..levels-1.

    Returns:
      The metadata: count, and the shape of every field except numbers.

    Raises:
      ValueError: sizes or numbers of channels are mixed, a pixel is out of range, or the number of
        examples is not `count`.
    """
    numbers: dict[str, list] = {name: [] for name, field in fields.items() if not field.shape}
    streamed = [name for name in fields if name not in numbers]
    first, written = None, 0
    with contextlib.ExitStack() as stack:
        files: dict[str, BinaryIO] = {
            name: stack.enter_context(open(_file(folder, name), "wb", buffering=1 << 20))
            for name in streamed
        }
        for example in examples:
            for name in streamed:
                value = np.asarray(example.values[name])
                if first is None:
                    _write_header(files[name], (count, *value.shape), value.dtype)
                _check_value(name, fields[name], example, first or example)
                files[name].write(np.ascontiguousarray(value).data)
            for name, values in numbers.items():
                values.append(example.values.get(name))
            first = first or example
            written += 1
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    if first is None or written != count:
        raise ValueError(f"the source announced {count} examples and gave {written}")
    for name, values in numbers.items():
        if all(value is not None and value >= 0 for value in values):
            np.save(_file(folder, name), np.asarray(values, fields[name].dtype))
    shapes = {f"{name}_shape": list(np.shape(first.values[name])) for name in streamed}
    return {"count": count, **shapes}


def append_rows(path: Path, rows: np.ndarray, count: int) -> None:
    """Adds rows to a .npy file that will have `count` of them.

    A full disk is an error here, while writing to a memory map of one ends the process.
    """
    rows = np.ascontiguousarray(rows)
    with writing(path), path.open("ab") as file:
        if file.tell() == 0:
            _write_header(file, (count, *rows.shape[1:]), rows.dtype)
        file.write(rows.data)


def _write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _check_value(field_name: str, field: Field, example: Example, first: Example) -> None:
    """Refuses a value whose dtype, channels, size or range differs from the others'."""
    value, name = np.asarray(example.values[field_name]), example.name
    if not is_image(field):
        if value.dtype != field.dtype or value.shape != tuple(field.shape):
            raise ValueError(
                f"{name}: {field_name} is {value.dtype} {list(value.shape)}, not {field.dtype} "
                f"{list(field.shape)}"
            )
        return
    shape = np.shape(first.values[field_name])
    if value.dtype != np.uint8 or value.ndim != 3 or value.size == 0:
        raise ValueError(f"{name}: not uint8 [H, W, C] but {value.dtype} {list(value.shape)}")
    if value.shape[2] != shape[2]:
        raise ValueError(
            f"mixed numbers of channels: {first.name} has {shape[2]}, {name} has "
            f"{value.shape[2]}; save all images as grey or all as RGB"
        )
    if value.shape != shape:
        sizes = ["{} × {}".format(*each[:2]) for each in (shape, value.shape)]
        raise ValueError(
            f"mixed sizes: {first.name} is {sizes[0]}, {name} is {sizes[1]} pixels (height × "
            "width); give data.resize a side in pixels (data.crop='center' keeps the aspect)"
        )
    levels = field.levels or 256
    if levels < 256 and value.max() >= levels:
        raise ValueError(
            f"{name}: pixel {value.max()} is not one of the {levels} levels 0..{levels - 1}"
        )


def digests(folder: Path) -> dict[str, str]:
    """{field: hash of its values} for what `write_examples` wrote, computed once and stored."""
    file = folder / "metadata.json"
    metadata = json.loads(file.read_text())
    if "digests" not in metadata:
        found = {name: digest_of(array) for name, array in open_arrays(folder).items()}
        metadata["digests"] = found
        with contextlib.suppress(OSError):  # the cache may be another user's
            partial = file.with_name(f"metadata.{uuid.uuid4().hex}")
            partial.write_text(json.dumps(metadata, indent=1) + "\n")
            partial.rename(file)
    return metadata["digests"]


def open_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Returns what `write_examples` wrote, {field: [N, ...]}: numbers read, the rest mapped."""
    names = {file: name for name, file in _FILES.items()}
    arrays = {}
    for path in sorted(folder.glob("*.npy")):
        mapped = np.load(path, mmap_mode="r")
        arrays[names.get(path.stem, path.stem)] = mapped if mapped.ndim > 1 else np.array(mapped)
    return arrays
