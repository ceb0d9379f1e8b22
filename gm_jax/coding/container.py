"""The file of compressed images, `.gmz`: what it needs to be read, checksums, and the payload.

    magic "GMZ" · version · 3 bytes of hash of each of FINGERPRINTS
    · height, width, channels, levels, number of images, batch size · 8 bytes of hash of the pixels
    · payload · 8 bytes of hash of all that stands before

Numbers are little-endian. A file is refused before anything is decoded if one bit of it is another;
the pixels' own hash tells whether what was decoded is what was encoded.
"""

import dataclasses
import hashlib
import struct
from collections.abc import Mapping

import numpy as np

MAGIC, VERSION = b"GMZ", 1
# What a file's reader must have in common with its writer, in the order of the file.
FINGERPRINTS = ("parameters", "config", "software", "processor", "compiler flags", "program")
_EACH, _SUM = 3, 8  # bytes of a fingerprint, and of a checksum
_SIZES = struct.Struct("<HHBHIH")  # height, width, channels, levels, count, batch size
_HEADER = len(MAGIC) + 1 + _EACH * len(FINGERPRINTS) + _SIZES.size + _SUM


@dataclasses.dataclass(frozen=True)
class Container:
    """The contents of a file.

    Attributes:
      fingerprint: {name: a text, or its hash} for FINGERPRINTS.
      image_shape: (H, W, C).
      levels: number of levels of a pixel.
      count: number of images.
      batch_size: images that the program takes at once.
      pixels: hash of the images, from `hash_of_pixels`.
      payload: what the entropy coder wrote.
    """

    fingerprint: Mapping[str, bytes]
    image_shape: tuple[int, int, int]
    levels: int
    count: int
    batch_size: int
    pixels: bytes
    payload: bytes

    def to_bytes(self) -> bytes:
        """The whole file.

        Raises:
          ValueError: a size is too large for the format.
        """
        sizes = (*self.image_shape, self.levels, self.count, self.batch_size)
        try:
            packed = _SIZES.pack(*sizes)
        except struct.error:
            raise ValueError(
                f"height, width, channels, levels, number of images and batch size are {sizes}: "
                "the file has room for 65,535 (channels 255, images 4,294,967,295)"
            ) from None
        prints = b"".join(self.fingerprint[name] for name in FINGERPRINTS)
        body = MAGIC + bytes([VERSION]) + prints + packed + self.pixels + self.payload
        return body + _hash(body, _SUM)


def read(content: bytes) -> Container:
    """Reads a whole file.

    Raises:
      ValueError: it is no such file, is damaged, or has another version.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError("this is no .gmz file: it does not begin with GMZ")
    at = len(MAGIC) + 1
    if content[len(MAGIC) : at] not in (b"", bytes([VERSION])):
        raise ValueError(
            f"the file has version {content[len(MAGIC)]} of the format, and this program reads "
            f"version {VERSION}: use the gm_jax that wrote it"
        )
    if len(content) < _HEADER + _SUM:
        raise ValueError(f"the file is cut off: it has {len(content)} bytes, fewer than its header")
    body, checksum = content[:-_SUM], content[-_SUM:]
    if _hash(body, _SUM) != checksum:
        raise ValueError("the file is damaged: its checksum differs; copy it anew")
    found = {
        name: body[at + _EACH * number : at + _EACH * (number + 1)]
        for number, name in enumerate(FINGERPRINTS)
    }
    at += _EACH * len(FINGERPRINTS)
    height, width, channels, levels, count, batch_size = _SIZES.unpack_from(body, at)
    pixels = body[at + _SIZES.size : _HEADER]
    shape = (height, width, channels)
    if not count or not batch_size:
        raise ValueError(f"the file says {count} images in batches of {batch_size}")
    return Container(found, shape, levels, count, batch_size, pixels, body[_HEADER:])


def check(found: Mapping[str, bytes], ours: Mapping[str, bytes]) -> None:
    """Refuses a file with other hashes than ours, {name: hash}; the message names what differs."""
    others = [name for name in FINGERPRINTS if found[name] != ours.get(name, found[name])]
    if others:
        raise ValueError(
            f"the file was written with other {', '.join(others)}: decode it by the model, and on "
            "the kind of machine, that encoded it"
        )


def fingerprint_of(texts: Mapping[str, str]) -> dict[str, bytes]:
    """{name: hash} of {name: text}, for names among FINGERPRINTS."""
    return {name: _hash(text.encode(), _EACH) for name, text in texts.items()}


def hash_of_pixels(images: np.ndarray) -> bytes:
    """A hash of images uint8 [N, H, W, C], in order."""
    return _hash(np.ascontiguousarray(images, np.uint8).tobytes(), _SUM)


def _hash(content: bytes, size: int) -> bytes:
    return hashlib.sha256(content).digest()[:size]
