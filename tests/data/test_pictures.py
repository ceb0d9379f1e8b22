"""Pixels are those of the file; unreadable files are refused by name."""

import logging
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from gm_jax import data

RNG = np.random.default_rng(0)
GREY, RGB = RNG.integers(0, 256, (4, 6), np.uint8), RNG.integers(0, 256, (4, 6, 3), np.uint8)
UPRIGHT = np.zeros((16, 24), np.uint8)
UPRIGHT[:8, :8] = 255  # bright where sky and left meet
# What each EXIF orientation says was done to the picture, undone by viewers.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def load(folder):
    return data.load(f"folder:{folder}", "all", cache_dir=str(folder.parent / "cache")).images


def png16(path, pixels):
    """A PNG with 16 bits per channel, which Pillow cannot write in colour."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    text = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks.items():
        checksum = struct.pack(">I", zlib.crc32(name + content))
        text += struct.pack(">I", len(content)) + name + content + checksum
    path.write_bytes(text)


def tiff16(path, channels):
    """A little-endian TIFF with 16 bits per channel and one strip."""
    pixels = RNG.integers(0, 65536, (4, 4, channels)).astype("<u2").tobytes()
    entries = {256: 4, 257: 4, 259: 1, 262: 2, 277: channels, 278: 4, 279: len(pixels)}
    places = {258: 8, 273: 8 + 2 * channels}
    body = struct.pack("<" + "H" * channels, *[16] * channels) + pixels
    tags = {**entries, **places}
    table = struct.pack("<H", len(tags))
    for tag in sorted(tags):
        kind, count = (3, channels) if tag == 258 else (4, 1)
        table += struct.pack("<HHII", tag, kind, count, tags[tag])
    header = b"II*\0" + struct.pack("<I", 8 + len(body))
    path.write_bytes(header + body + table + struct.pack("<I", 0))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_of_any_colour_type_are_refused(folder, channels):
    png16(folder / "deep.png", RNG.integers(0, 4096, (8, 8, channels)))
    with pytest.raises(ValueError, match=r"deep\.png: 16 bits a channel, more than 8"):
        load(folder)


def test_deep_and_strange_tiffs_are_refused(folder):
    tiff16(folder / "deep.tif", 3)
    with pytest.raises(ValueError, match=r"deep\.tif: 16 bits a channel"):
        load(folder)
    for pixels in (GREY.astype(np.float32), GREY.astype(np.int32)):
        Image.fromarray(pixels).save(folder / "deep.tif")
        with pytest.raises(ValueError, match=r"deep\.tif: 32 bits"):
            load(folder)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_a_picture_is_turned_as_its_exif_says(folder, orientation, ending):
    tag = Image.Exif()
    tag[0x112] = orientation
    options = {"jpg": {"quality": 100}, "webp": {"lossless": True}}.get(ending, {})
    picture = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    picture.save(folder / f"0.{ending}", exif=tag, **options)
    (image,) = load(folder)
    assert np.abs(image[..., 0].astype(int) - UPRIGHT).max() < 12


@pytest.mark.parametrize("ending", ["png", "webp", "bmp", "tif", "tiff", "gif", "TIFF"])
def test_formats_without_loss_give_their_pixels(folder, ending):
    options = {"webp": {"lossless": True}}.get(ending, {})
    grey = ending not in ("webp", "gif")  # these store colours alone
    Image.fromarray(GREY if grey else RGB // 64 * 64).save(folder / f"0.{ending}", **options)
    expected = GREY[..., None] if grey else RGB // 64 * 64
    np.testing.assert_array_equal(load(folder)[0], expected)


def test_the_first_frame_of_several_is_read(folder):
    frames = [Image.fromarray(np.full((4, 6, 3), value, np.uint8)) for value in (255, 0)]
    for name in ("0.gif", "1.tif", "2.webp"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
    assert load(folder).shape == (3, 4, 6, 3) and load(folder).min() == 255


def test_transparency_is_over_white_in_every_mode(folder):
    alpha = np.where(GREY > 127, 255, 0).astype(np.uint8)
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]).save(folder / "0.png")
    Image.fromarray(np.dstack([GREY] * 3 + [alpha])).save(folder / "1.png")
    Image.fromarray(GREY).save(folder / "2.png", transparency=int(GREY[0, 0]))
    images = load(folder)
    seen = np.where(alpha > 0, GREY, 255)
    np.testing.assert_array_equal(images[:2], np.stack([np.dstack([seen] * 3)] * 2))
    np.testing.assert_array_equal(images[2, ..., 0], np.where(GREY[0, 0] == GREY, 255, GREY))


def test_hidden_and_system_files_are_skipped_and_counted_once(tmp_path, caplog):
    root = tmp_path / "set"
    for split in ("train", "test"):
        (root / split / "a").mkdir(parents=True)
        Image.fromarray(GREY).save(root / split / "a" / "0.png")
        for name in ("Thumbs.db", "desktop.ini", "._0.png"):
            (root / split / "a" / name).write_bytes(b"x")
    for folder in (root, root / "train"):
        (folder / ".DS_Store").write_bytes(b"x")
    (root / "__MACOSX" / "train").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        for split in ("train", "test"):
            found = data.load(f"folder:{root}", split, cache_dir=str(tmp_path / "cache"))
            assert len(found) == 1 and found.classes == ("a",)
    assert caplog.text.count("9 hidden or system files skipped") == 1


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def dangle(path):
    path.unlink()
    path.symlink_to("not/mounted.png")


@pytest.mark.parametrize(
    "damage", [cut, dangle, lambda path: path.write_bytes(b""), lambda p: os.truncate(p, 30)]
)
@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_every_unreadable_file_is_refused_by_name(folder, damage, ending):
    Image.fromarray(RNG.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"bad.{ending}")
    damage(folder / f"bad.{ending}")
    with pytest.raises(ValueError, match=rf"bad\.{ending}"):
        load(folder)


def test_text_that_pillow_will_not_unpack_is_refused_by_name(folder):
    text = PngImagePlugin.PngInfo()
    text.add_text("history", "x" * 2_000_000, zip=True)
    Image.fromarray(GREY).save(folder / "long.png", pnginfo=text)
    with pytest.raises(ValueError, match=r"long\.png: cannot be read"):
        load(folder)


def test_a_name_that_is_not_utf_8_is_a_name(folder):
    Image.fromarray(GREY).save(folder / "0.png")
    os.rename(folder / "0.png", os.fsencode(folder) + b"/caf\xe9.png")
    np.testing.assert_array_equal(load(folder)[0, ..., 0], GREY)
