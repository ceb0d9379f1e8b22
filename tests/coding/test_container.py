"""A file is read as it was written, or refused."""

import dataclasses

import numpy as np
import pytest

from gm_jax.coding import container
from gm_jax.coding.container import FINGERPRINTS, Container

OURS = container.fingerprint_of({name: f"our {name}" for name in FINGERPRINTS})
FILE = Container(OURS, (28, 28, 1), 256, 70_000, 64, b"8 bytes.", bytes(range(200)))


def test_a_file_is_read_as_it_was_written():
    content = FILE.to_bytes()
    assert container.read(content) == FILE
    assert len(content) - len(FILE.payload) == 51
    empty = dataclasses.replace(FILE, payload=b"")
    assert container.read(empty.to_bytes()) == empty


def test_hundreds_of_cut_and_flipped_files_are_all_refused():
    content, generator = FILE.to_bytes(), np.random.default_rng(0)
    damaged = [content[:length] for length in range(len(content))]
    damaged += [content + b"\0", content[1:], content[:100] + content[101:]]
    for bit in generator.choice(8 * len(content), 700, replace=False):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    assert len(damaged) > 900
    for file in damaged:
        with pytest.raises(ValueError, match=r"no \.gmz file|cut off|damaged|has version"):
            container.read(file)


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_what_differs_is_named(name):
    theirs = container.fingerprint_of({each: f"our {each}" for each in FINGERPRINTS} | {name: "x"})
    container.check(OURS, OURS)
    with pytest.raises(ValueError, match=f"written with other {name}: decode it by the model"):
        container.check(theirs, OURS)


def test_another_version_is_named():
    content = bytearray(FILE.to_bytes())
    content[len(container.MAGIC)] = 9
    with pytest.raises(ValueError, match="has version 9 of the format, and this program reads ver"):
        container.read(bytes(content))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"are \(28, 70000, 1, 256, .*the file has room"):
        dataclasses.replace(FILE, image_shape=(28, 70_000, 1)).to_bytes()


def test_the_hash_of_pixels_knows_their_order_and_values():
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    others = images[::-1], np.where(images == 5, 6, images), images[:1]
    assert container.hash_of_pixels(images) == container.hash_of_pixels(images.copy())
    assert container.hash_of_pixels(images) not in map(container.hash_of_pixels, others)
