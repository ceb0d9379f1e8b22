"""Images for viewing: levels spread over 0..255, grids, PNG files (on the host, in NumPy)."""

import io
import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from etils import epath
from PIL import Image

if TYPE_CHECKING:
    import jax

Drawn = TypeVar("Drawn")
Pixels = TypeVar("Pixels", np.ndarray, "jax.Array")

# Mid-grey grid lines stand out from both black and white images.
LINE = 128
_ANIMATION_SIDE = 128


def numbered(draws: Iterable[Drawn], name: str = "image") -> dict[str, Drawn]:
    """Names a sequence of draws of the same thing: {`image`, `image_2`, `image_3`, …}."""
    return {f"{name}_{draw}" if draw > 1 else name: x for draw, x in enumerate(draws, 1)}


def spread(images: Pixels, levels: int) -> Pixels:
    """Spreads level v over 0..255: 255·v / (levels − 1), rounded to the nearest integer.

    It uses only integer operators, so JAX arrays, including traced ones, stay JAX arrays, and
    feature networks see what the pictures show.

    Args:
      images: uint8 array of any shape in 0..levels−1.
      levels: number of values, 2..256.

    Returns:
      uint8 of the same shape, 0 and 255 at the ends; the images themselves for 256 levels.

    Raises:
      ValueError: if `levels` is not in 2..256, or a NumPy array holds a value that is not a level.
    """
    if not 2 <= levels <= 256:
        raise ValueError(f"levels is {levels}; images have 2 to 256 levels")
    if isinstance(images, np.ndarray) and images.size:
        worst = images.max() if images.max() >= levels else images.min()
        if not 0 <= worst < levels:
            raise ValueError(f"value {worst} in images of {levels} levels (0..{levels - 1})")
    doubled = images.astype(np.int32) * (2 * 255) + (levels - 1)
    return (doubled // (2 * (levels - 1))).astype(np.uint8)


def grid(images: np.ndarray, columns: int, padding: int = 1, enlarge: int = 1) -> np.ndarray:
    """Lays out images row by row, with lines between and around them.

    Args:
      images: uint8 [N, H, W, C] in 0..255 (see `spread`).
      columns: images per row; grey fills up the last row.
      padding: width of the lines in pixels, at least 0.
      enlarge: integer factor by which each image is magnified, with square pixels; 1 or more.

    Returns:
      uint8 [rows · (H·enlarge + padding) + padding, columns · (W·enlarge + padding) + padding, C].
      Fewer images than `columns` give a single row with that number of columns.

    Raises:
      ValueError: if the images are not uint8 [N, H, W, C] with N ≥ 1, or a number is out of range.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise ValueError(f"a grid takes uint8 [N, H, W, C], not {images.dtype} {images.shape}")
    if columns < 1 or padding < 0 or enlarge < 1:
        raise ValueError(
            f"columns={columns}, padding={padding}, enlarge={enlarge}: "
            "columns and enlarge are at least 1, padding at least 0"
        )
    images = images.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    step_down, step_right = height + padding, width + padding
    shape = (rows * step_down + padding, columns * step_right + padding, channels)
    canvas = np.full(shape, LINE, np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = padding + row * step_down, padding + column * step_right
        canvas[top : top + height, left : left + width] = image
    return canvas


def picture_of(image: np.ndarray) -> Image.Image:
    """Converts uint8 [H, W, 3] (colour) or [H, W, 1] (grey), in 0..255, to a Pillow image.

    Raises:
      ValueError: if the image is anything else.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ValueError(
            f"a PNG takes uint8 [H, W, 1] or [H, W, 3], not {image.dtype} {image.shape}"
        )
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def save_gif(path: epath.PathLike, images: np.ndarray, seconds: float = 0.1) -> None:
    """Writes images, uint8 [N, H, W, 1 or 3] in 0..255, as an animation that repeats forever.

    Small images are magnified by an integer factor to make them visible.
    """
    enlarge = max(1, _ANIMATION_SIDE // images.shape[1])
    frames = [picture_of(each.repeat(enlarge, 0).repeat(enlarge, 1)) for each in images]
    encoded, (first, *others) = io.BytesIO(), frames
    first.save(encoded, "GIF", save_all=True, append_images=others, duration=1000 * seconds, loop=0)
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.getvalue())


def save_png(path: epath.PathLike, image: np.ndarray) -> None:
    """Writes one image as PNG, on disk or in a bucket (gs://…); creates missing folders.

    Args:
      path: the file to write.
      image: uint8 [H, W, 3] (colour) or [H, W, 1] (grey), in 0..255.

    Raises:
      ValueError: if the image is anything else.
    """
    encoded = io.BytesIO()
    picture_of(image).save(encoded, format="PNG")
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.getvalue())


def save_pngs(folder: epath.PathLike, images: np.ndarray) -> None:
    """Writes images as `0.png`, `1.png`, … into a folder that then holds nothing else.

    An existing folder is replaced as a whole once the new one is complete, so a killed process
    leaves no mixture of both. A bucket cannot rename, so there the folder is emptied first.

    Args:
      folder: the folder to write; missing parent folders are created.
      images: uint8 [N, H, W, 1 or 3], in 0..255; the numbers have as many digits as N − 1.
    """
    folder = epath.Path(folder)
    is_remote = "://" in os.fspath(folder)
    written = folder if is_remote else folder.with_name(f".{folder.name}.partial")
    if written.exists():
        written.rmtree()
    digits = len(str(len(images) - 1))
    for number, image in enumerate(images):
        save_png(written / f"{number:0{digits}d}.png", image)
    if not is_remote:
        if folder.exists():
            folder.rmtree()
        written.rename(folder)
