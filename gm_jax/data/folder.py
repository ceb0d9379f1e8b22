"""Images in folders: SPLIT/CLASS/files, SPLIT/files, or files alone; PNG or JPEG."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from gm_jax.data.fields import image_spec
from gm_jax.data.reader import UNDECODED, Example, Reader, files_fingerprint
from gm_jax.data.transforms import picture_to_array

_ENDINGS = (".png", ".jpg", ".jpeg")
_SHUFFLE_SEED = 0


class _File(NamedTuple):
    """An image file and the name of its class (None where the split has no classes)."""

    path: Path
    class_name: str | None


def _entries(folder: Path) -> list[Path]:
    """Returns what a folder holds, sorted by name; hidden files and folders are no data."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _list_images(folder: Path, class_name: str | None) -> list[_File]:
    """Returns the image files of a folder, refusing whatever else it holds."""
    files = []
    for path in _entries(folder):
        if path.is_dir():
            raise ValueError(f"{path}: a folder; the layout is SPLIT/CLASS/files or SPLIT/files")
        if path.suffix.lower() not in _ENDINGS:
            raise ValueError(f"{path}: no PNG or JPEG image; move it out of the data")
        files.append(_File(path, class_name))
    return files


def _list_split(folder: Path) -> list[_File]:
    """Returns the image files of SPLIT/files by name, those of SPLIT/CLASS/files in mixed order."""
    entries = _entries(folder)
    class_folders = [entry for entry in entries if entry.is_dir()]
    if not class_folders:
        return _list_images(folder, None)
    for entry in entries:
        if not entry.is_dir():
            raise ValueError(f"{entry}: a file among class folders; move it into one of them")
    files = [file for entry in class_folders for file in _list_images(entry, entry.name)]
    # By class, train[:90%] would lack the last one. RandomState's streams are frozen.
    return [files[row] for row in np.random.RandomState(_SHUFFLE_SEED).permutation(len(files))]


def _decode(path: Path) -> Image.Image:
    """Returns the decoded picture, refusing a file that is none."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            picture.load()
            return picture
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be read as a PNG or JPEG image ({error})") from error


def open_folder(path: str) -> Reader:
    """Returns the reader of a folder of images; labels follow the sorted names of the classes.

    Images with classes come in an order that mixes the classes, so that a large slice of a split
    has them all; it depends on the number of files alone.

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
    splits = {entry.name: _list_split(entry) for entry in _entries(root) if entry.is_dir()}
    if not splits and _entries(root):
        splits = {"all": _list_images(root, None)}
    files = [file for split in splits.values() for file in split]
    if not files:
        raise ValueError(f"{root} holds no images; the layout is SPLIT/CLASS/files or SPLIT/files")
    classes = sorted({file.class_name for file in files if file.class_name is not None})
    labels: dict[str | None, int] = {name: label for label, name in enumerate(classes)}

    def read(split: str, start: int, stop: int) -> Iterator[Example]:
        for file in splits[split][start:stop]:
            image = picture_to_array(_decode(file.path), str(file.path))
            values = {"image": image, "label": labels.get(file.class_name)}
            yield Example(values, str(file.path))

    return Reader(
        {name: len(split) for name, split in splits.items()},
        files_fingerprint(file.path for file in files),
        image_spec(UNDECODED, 256, len(classes) or None),
        read,
        tuple(classes) or None,
    )
