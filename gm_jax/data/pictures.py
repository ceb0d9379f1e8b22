"""Picture files to arrays of pixels: upright, 8 bits a channel, grey or RGB."""

from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

FORMATS = "PNG, JPEG, WebP, BMP, TIFF or GIF"
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# Part of the fingerprint of files: another name decodes them anew.
DECODING = "upright, transparency over white"
_OPENED = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_BITS_OF_PNG = 24  # the byte of the header that says so
_BITS_OF_TIFF = 258  # the tag, one number a channel


def size_of_picture(path: Path) -> tuple[int, int]:
    """Returns width and height of a file, upright or not; of its pixels nothing is read.

    Raises:
      ValueError: it cannot be read.
    """
    try:
        with Image.open(path, formats=_OPENED) as picture:
            return picture.size
    except Exception as error:  # Pillow raises nearly anything on a damaged file
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: cannot be read as a {FORMATS} image ({error}); replace it, or move it out of the "
        "data"
    )


def read_picture(path: Path) -> np.ndarray:
    """Returns the pixels of a file, of several frames or pages those of the first.

    Returns:
      uint8 [H, W, C] with C = 1 or 3, as `picture_to_array` makes them.

    Raises:
      ValueError: it cannot be read, or has more than 8 bits a channel. The message names it.
    """
    try:
        # Of a path, Pillow maps an uncompressed TIFF in the wrong shape where it is to be turned.
        with path.open("rb") as file, Image.open(file, formats=_OPENED) as picture:
            bits = _bits(file, picture)
            picture.load()
    except Exception as error:  # Pillow raises nearly anything on a damaged file
        raise _unreadable(path, error) from error
    if bits > 8:  # of colours Pillow keeps the upper 8 without a word
        raise ValueError(f"{path}: {bits} bits a channel, more than 8; save it with 8 bits")
    return picture_to_array(picture, str(path))


def _bits(file: IO[bytes], picture: Image.Image) -> int:
    """Returns the bits of a channel in a file just opened; 8 where its format has no more."""
    if picture.format == "PNG":
        place = file.tell()
        file.seek(_BITS_OF_PNG)
        bits = file.read(1)[0]
        file.seek(place)
        return bits
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(_BITS_OF_TIFF, (1,)))  # type: ignore[attr-defined]
    return 8


def picture_to_array(picture: Image.Image, name: str) -> np.ndarray:
    """Returns the pixels of a picture, as grey or as RGB.

    Grey and bilevel pictures give one channel. Palettes and CMYK become RGB. Transparency is
    composited over white, giving RGB. A picture that is upright only by its EXIF orientation is
    turned, as viewers show it.

    Args:
      picture: an opened picture.
      name: what an error message calls it.

    Returns:
      uint8 [H, W, C] with C = 1 or 3.

    Raises:
      ValueError: the picture has more than 8 bits a channel, or channels of no known meaning.
    """
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"{name}: mode {picture.mode!r} has more than 8 bits; save it with 8 bits")
    if picture.mode == "RGBX":
        raise ValueError(f"{name}: a fourth channel that is no transparency; save it as RGB")
    try:
        picture = ImageOps.exif_transpose(picture)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
            picture = Image.alpha_composite(white, picture)
        if picture.mode in ("1", "L"):
            return np.asarray(picture.convert("L"))[:, :, None]
        return np.asarray(picture.convert("RGB"))
    except Exception as error:  # damaged EXIF, or a mode that Pillow cannot convert
        raise ValueError(f"{name}: cannot be made grey or RGB ({error})") from error
