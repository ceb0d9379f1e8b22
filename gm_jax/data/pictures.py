"""Reads picture files into arrays of pixels: upright, 8 bits per channel, grey or RGB."""

from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

FORMATS = "PNG, JPEG, WebP, BMP, TIFF or GIF"
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# Part of the fingerprint of files: changing it decodes them anew.
DECODING = "upright, transparency over white"
_OPENED = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_BITS_OF_PNG = 24  # the header's byte for it
_BITS_OF_TIFF = 258  # the tag, with one number per channel


def size_of_picture(path: Path) -> tuple[int, int]:
    """Returns width and height of a file, upright or not, without reading its pixels.

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
    """Returns the pixels of a file, or of its first frame or page.

    Returns:
      uint8 [H, W, C] with C = 1 or 3, as from `picture_to_array`.

    Raises:
      ValueError: it cannot be read, or has more than 8 bits per channel. The message names it.
    """
    try:
        # Given a path, Pillow maps an uncompressed TIFF in the wrong shape if it must be rotated.
        with path.open("rb") as file, Image.open(file, formats=_OPENED) as picture:
            bits = _bits(file, picture)
            picture.load()
    except Exception as error:  # Pillow raises nearly anything on a damaged file
        raise _unreadable(path, error) from error
    if bits > 8:  # for colours Pillow silently keeps the upper 8
        raise ValueError(f"{path}: {bits} bits a channel, more than 8; save it with 8 bits")
    return picture_to_array(picture, str(path))


def _bits(file: IO[bytes], picture: Image.Image) -> int:
    """Returns the bits per channel of a file just opened; 8 if its format has no more."""
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
    """Returns the pixels of a picture, as grey or RGB.

    Grey and bilevel pictures give one channel. Palettes and CMYK become RGB. Transparency is
    composited over white, which gives RGB. The EXIF orientation is applied, as in viewers.

    Args:
      picture: an opened picture.
      name: its name in error messages.

    Returns:
      uint8 [H, W, C] with C = 1 or 3.

    Raises:
      ValueError: the picture has more than 8 bits per channel, or channels of unknown meaning.
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
