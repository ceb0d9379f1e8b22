"""Images in folders: SPLIT/CLASS/files, SPLIT/files, or files alone."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gm_jax.data.fields import image_spec
from gm_jax.data.pictures import DECODING, ENDINGS, FORMATS, read_picture
from gm_jax.data.reader import UNDECODED, Example, Reader, files_fingerprint

_SHUFFLE_SEED = 0
# What operating systems and storage boxes leave among files, besides names with a dot in front.
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"}

_log = logging.getLogger(__name__)
_told_of: set[tuple[Path, int]] = set()


class _File(NamedTuple):
    """An image file and the name of its class (None where the split has no classes)."""

    path: Path
    class_name: str | None


class _Folder(NamedTuple):
    """What a folder holds, sorted by name, and what of it is no data."""

    files: list[Path]
    folders: list[Path]
    skipped: list[Path]


def _look(folder: Path) -> _Folder:
    """Lists a folder."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder}: cannot be listed ({error.strerror})") from None
    found = _Folder([], [], [])
    for entry in entries:
        is_system = entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES
        kind = found.skipped if is_system else found.folders if entry.is_dir() else found.files
        kind.append(entry)
    return found


def _list_images(found: _Folder, class_name: str | None) -> list[_File]:
    """Returns the image files of a folder, refusing whatever else it holds."""
    for path in found.folders:
        raise ValueError(f"{path}: a folder; the layout is SPLIT/CLASS/files or SPLIT/files")
    for path in found.files:
        if path.suffix.lower() not in ENDINGS:
            raise ValueError(f"{path}: no {FORMATS} image; move it out of the data")
        if not path.is_file():
            raise ValueError(f"{path}: no file, or a link to none; move it out of the data")
    return [_File(path, class_name) for path in found.files]


def _list_split(folder: Path, skipped: list[Path]) -> list[_File]:
    """Returns the image files of SPLIT/files by name, those of SPLIT/CLASS/files in mixed order."""
    found = _look(folder)
    skipped += found.skipped
    if not found.folders:
        return _list_images(found, None)
    for path in found.files:
        raise ValueError(f"{path}: a file among class folders; move it into one of them")
    files = []
    for path in found.folders:
        images = _look(path)
        skipped += images.skipped
        files += _list_images(images, path.name)
    # By class, train[:90%] would lack the last one. RandomState's streams are frozen.
    return [files[row] for row in np.random.RandomState(_SHUFFLE_SEED).permutation(len(files))]


def _tell(root: Path, skipped: list[Path]) -> None:
    """Says once how many files were skipped: splits are opened one by one."""
    if skipped and (root, len(skipped)) not in _told_of:
        _told_of.add((root, len(skipped)))
        names = ", ".join(sorted({path.name for path in skipped})[:3])
        _log.warning("%s: %d hidden or system files skipped (%s)", root, len(skipped), names)


def open_folder(path: str) -> Reader:
    """Returns the reader of a folder of images; labels follow the sorted names of the classes.

    Images with classes come in an order that mixes the classes, so that a large slice of a split
    has them all; it depends on the number of files alone. Hidden and system files are skipped.

    Args:
      path: a folder that holds one folder for every split. The classes are those of all splits
        together, so that a label means the same everywhere. A folder of images alone, such as
        samples, is one split `all`.

    Raises:
      ValueError: there is no such folder, it is empty, or holds a file that is no image.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"no folder {root}; give folder:PATH, PATH holding SPLIT/CLASS/")
    found = _look(root)
    skipped = [*found.skipped]
    splits = {folder.name: _list_split(folder, skipped) for folder in found.folders}
    if not splits and found.files:
        splits = {"all": _list_images(found, None)}
    files = [file for split in splits.values() for file in split]
    if not files:
        raise ValueError(f"{root} holds no images; the layout is SPLIT/CLASS/files or SPLIT/files")
    _tell(root, skipped)
    classes = sorted({file.class_name for file in files if file.class_name is not None})
    labels: dict[str | None, int] = {name: label for label, name in enumerate(classes)}

    def read(split: str, start: int, stop: int) -> Iterator[Example]:
        for file in splits[split][start:stop]:
            values = {"image": read_picture(file.path), "label": labels.get(file.class_name)}
            yield Example(values, str(file.path))

    return Reader(
        {name: len(split) for name, split in splits.items()},
        f"{files_fingerprint(file.path for file in files)} {DECODING}",
        image_spec(UNDECODED, 256, classes or None),
        read,
    )
