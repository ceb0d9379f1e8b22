"""Images in folders: SPLIT/CLASS/files, SPLIT/files, CLASS/files, or just files."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gm_jax.data.fields import image_spec
from gm_jax.data.pictures import DECODING, ENDINGS, FORMATS, read_picture, size_of_picture
from gm_jax.data.reader import UNDECODED, Example, Reader, files_fingerprint, shown
from gm_jax.data.splits import SPLIT_NAMES

_SHUFFLE_SEED = 0
_LAYOUT = "which holds SPLIT/CLASS/files, SPLIT/files, CLASS/files or files"
_SHARES = {"train": 80, "validation": 90, "test": 100}  # where each ends, in percent
# Files that operating systems and storage devices leave behind, besides dot files.
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"}

_log = logging.getLogger(__name__)
_told_of: set[tuple[Path, int]] = set()


class _File(NamedTuple):
    """An image file and the name of its class (None if the split has no classes)."""

    path: Path
    class_name: str | None


class _Folder(NamedTuple):
    """What a folder holds, sorted by name, and the files in it that are not data."""

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
    """Returns the image files of a folder; refuses anything else in it."""
    for path in found.folders:
        raise ValueError(f"{path}: a folder within a class; the data is a folder {_LAYOUT}")
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
    # Sorted by class, train[:90%] would lack the last class. RandomState's streams are frozen.
    return [files[row] for row in np.random.RandomState(_SHUFFLE_SEED).permutation(len(files))]


def _tell(root: Path, skipped: list[Path]) -> None:
    """Reports the number of skipped files once, although splits are opened one by one."""
    if skipped and (root, len(skipped)) not in _told_of:
        _told_of.add((root, len(skipped)))
        names = ", ".join(sorted({path.name for path in skipped})[:3])
        _log.warning("%s: %d hidden or system files skipped (%s)", root, len(skipped), names)


def _list_all(root: Path) -> dict[str, list[_File]]:
    """Returns the image files of every split."""
    if not root.is_dir():
        raise ValueError(f"no folder {root}; give folder:PATH, {_LAYOUT}")
    found = _look(root)
    skipped: list[Path] = []
    named = [folder for folder in found.folders if folder.name in SPLIT_NAMES]
    if named:
        for path in [*found.files, *(other for other in found.folders if other not in named)]:
            raise ValueError(
                f"{path}: beside the splits {', '.join(folder.name for folder in named)}; move it "
                f"into one of them, or out of the data ({_LAYOUT})"
            )
        splits = {folder.name: _list_split(folder, skipped) for folder in named}
    else:
        splits = _divided(root, _list_split(root, skipped))
    if not any(splits.values()):
        raise ValueError(f"{root} holds no images; {_LAYOUT}")
    _tell(root, [*(found.skipped if named else []), *skipped])
    return splits


def _divided(root: Path, files: list[_File]) -> dict[str, list[_File]]:
    """Returns `all` files and, if there are three or more, splits with 80, 10 and 10 % of them.

    A hash of a file's path below the root decides its split, whatever other files there are. A
    split that would be empty takes the file with the lowest hash that another can spare.
    """
    if len(files) < len(_SHARES):
        return {"all": files}
    hashes = {
        file: int(hashlib.sha256(str(file.path.relative_to(root)).encode()).hexdigest(), 16)
        for file in files
    }
    splits: dict[str, list[_File]] = {name: [] for name in _SHARES}
    for file in files:
        percent = hashes[file] % 100
        splits[next(name for name, end in _SHARES.items() if percent < end)].append(file)
    for split in splits.values():
        if not split:
            rich = [other for other in splits.values() if len(other) > 1]
            spare = min((file for other in rich for file in other), key=hashes.__getitem__)
            next(other for other in rich if spare in other).remove(spare)
            split.append(spare)
    return {**splits, "all": files}


def sizes_of_folder(path: str) -> list[tuple[int, int]]:
    """Width and height of every image in a folder; reads only the headers."""
    files = {file.path for split in _list_all(Path(path).expanduser()).values() for file in split}
    label = f"reading the sizes of folder:{path}"
    return [size_of_picture(file) for file in shown(sorted(files), label, len(files))]


def open_folder(path: str) -> Reader:
    """Returns a reader for a folder of images; labels number the sorted class names.

    Images with classes come in an order that mixes the classes, so that a large slice of a split
    has them all; the order depends only on the number of files. Hidden and system files are
    skipped.

    Args:
      path: a folder SPLIT/CLASS/files or SPLIT/files, with splits called train, validation (or val,
        valid), test or all; or, without splits, CLASS/files or files, where a hash chooses the
        splits `train`, `validation` and `test`, and `all` has all files. The classes are those of
        all splits together, so that a label means the same everywhere.

    Raises:
      ValueError: there is no such folder, it is empty, or it holds a file that is not an image.
    """
    splits = _list_all(Path(path).expanduser())
    files = [file for split in splits.values() for file in split]
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
