"""Damaged files, through the public readers: each is refused by name, or read as if it were whole.

Nothing else may happen: no error of a library, no wait, and no wrong values taken for right ones.
A seed draws the damages.
"""

import collections
import gzip
import io
import json
import pickle
import shutil
import time
import types
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from gm_jax import data
from gm_jax.evaluation.inception_weights import load_inception_weights
from gm_jax.evaluation.records import Records, read_results
from gm_jax.evaluation.torch_file import read_torch_file
from gm_jax.training import checkpoint, recorded
from gm_jax.training import workdir as workdirs
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.run import open_trained
from tests import toy

SECONDS = 10
COUNTS = collections.Counter()


@pytest.fixture(scope="module", autouse=True)
def counted(toy):
    """Prints how many inputs were tried (pytest -s -n 0), about 480 in all."""
    yield
    for kind, outcome in sorted(COUNTS):
        print(f"{kind}: {COUNTS[kind, outcome]} {outcome}")
    refused = sum(count for (_, outcome), count in COUNTS.items() if outcome == "refused")
    print(f"{sum(COUNTS.values())} damaged inputs, {refused} refused by name")


def flips(rng, content, count):
    """Copies of some bytes with one of them another, anywhere."""
    for place in rng.choice(len(content), count, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        yield bytes(damaged)


def cuts(rng, content, count):
    """The beginnings of some bytes, the empty one and one that lacks a byte among them."""
    ends = {0, len(content) - 1, *rng.choice(len(content), count - 2, replace=False).tolist()}
    for end in sorted(ends):
        yield content[:end]


def try_to_read(kind, read, path, whole):
    """Counts what happens: refused by name, read as if whole; everything else fails the test.

    Args:
      kind: of the input.
      read: () -> tree of arrays.
      path: whose name the refusal has to hold.
      whole: the tree of what is not damaged; None where nothing may be read.
    """
    start = time.process_time()
    try:
        found = read()
    except ValueError as error:  # any other error is the test's
        assert str(path) in str(error), f"{kind}: {error!r} does not name {path}"
        assert "\n" not in str(error).strip()
        COUNTS[kind, "refused"] += 1
    else:
        assert whole is not None, f"{kind}: {path} is accepted"
        jax.tree.map(np.testing.assert_array_equal, found, whole)
        COUNTS[kind, "read as if whole"] += 1
    assert time.process_time() - start < SECONDS


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def load(source, tmp_path):
    """All values of the splits of a source, decoded anew."""
    cache = tmp_path / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    found = {
        split: data.load(source, split, cache_dir=str(cache)) for split in data.split_names(source)
    }
    return {
        split: {k: np.array(v) for k, v in each.arrays.items()} for split, each in found.items()
    }


IMAGES = np.random.default_rng(0).integers(0, 16, (12, 4, 4), np.uint8)
SPLITS = np.array(["train"] * 6 + ["validation"] * 3 + ["test"] * 3)
LABELS = np.arange(12) % 3
OTHER_ARRAYS = [
    {"image": IMAGES.astype(object)},
    {"image": IMAGES, "label": LABELS.astype(object)},
    {"image": IMAGES, "split": SPLITS.astype(object)},
    {"image": IMAGES, "levels": np.array(16, object)},
    {"image": IMAGES.astype(np.float32)},
    {"image": IMAGES.astype(np.int64)},
    {"image": IMAGES[0]},
    {"image": IMAGES[..., None, None]},
    {"image": IMAGES[:0]},
    {"image": IMAGES[:, :0]},
    {"image": np.uint8(3)},
    {"image": np.asfortranarray(IMAGES)},
    {"image": IMAGES, "label": LABELS[:, None]},
    {"image": IMAGES, "label": LABELS[:5]},
    {"image": IMAGES, "label": LABELS + 0.5},
    {"image": IMAGES, "label": LABELS - 2},
    {"image": IMAGES, "label": LABELS + 10**9},
    {"image": IMAGES, "split": SPLITS[:, None]},
    {"image": IMAGES, "split": SPLITS[:7]},
    {"image": IMAGES, "split": LABELS + 7},
    {"image": IMAGES, "split": LABELS + 0.5},
    {"image": IMAGES, "levels": np.array([16, 17])},
    {"image": IMAGES, "levels": 16.5},
    {"image": IMAGES, "levels": 257},
    {"image": IMAGES, "levels": 3},
    {"picture": IMAGES},
]


def test_npz(tmp_path):
    rng, path = np.random.default_rng(1), tmp_path / "images.npz"
    arrays = {"image": IMAGES, "split": SPLITS, "label": LABELS, "levels": 16}
    for write in (np.savez, np.savez_compressed):
        write(path, **arrays)
        content, whole = path.read_bytes(), load(f"npz:{path}", tmp_path)
        for damaged in [*flips(rng, content, 30), *cuts(rng, content, 8)]:
            path.write_bytes(damaged)
            try_to_read("npz, bytes", lambda: load(f"npz:{path}", tmp_path), path, whole)
    for others in OTHER_ARRAYS:
        path.write_bytes(npz(**others))
        try_to_read("npz, arrays", lambda: load(f"npz:{path}", tmp_path), path, None)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_pictures_that_are_cut(tmp_path, ending):
    rng, folder = np.random.default_rng(2), tmp_path / "images"
    folder.mkdir()
    pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
    for number in range(3):
        Image.fromarray(pixels).save(folder / f"{number}.{ending}")
    path = folder / f"1.{ending}"
    content, whole = path.read_bytes(), load(f"folder:{folder}", tmp_path)
    for damaged in cuts(rng, content, 8):
        path.write_bytes(damaged)
        try_to_read(ending, lambda: load(f"folder:{folder}", tmp_path), path, whole)


@pytest.mark.parametrize("packed", [False, True])
def test_idx(tmp_path, packed):
    rng, ending = np.random.default_rng(3), ".gz" if packed else ""
    files = {}
    for split in ("train", "t10k"):
        head = bytes((0, 0, 8, 3)) + np.array(IMAGES.shape, ">u4").tobytes()
        files[f"{split}-images-idx3-ubyte"] = head + IMAGES.tobytes()
        head = bytes((0, 0, 8, 1)) + np.array([len(LABELS)], ">u4").tobytes()
        files[f"{split}-labels-idx1-ubyte"] = head + LABELS.astype(np.uint8).tobytes()
    for name, content in files.items():
        packed_content = gzip.compress(content, mtime=0) if packed else content
        (tmp_path / f"{name}{ending}").write_bytes(packed_content)
    whole = load(f"idx:{tmp_path}", tmp_path)
    for name in [*files][:2]:
        path = tmp_path / f"{name}{ending}"
        content = path.read_bytes()
        # Where nothing but the head is checked, a flip in the head alone is known to be wrong.
        damages = flips(rng, content, 12) if packed else flips(rng, content[:8], 8)
        damages = (each if packed else each + content[8:] for each in damages)
        for damaged in [*damages, *cuts(rng, content, 6)]:
            path.write_bytes(damaged)
            try_to_read("IDX", lambda: load(f"idx:{tmp_path}", tmp_path), tmp_path, whole)
        path.write_bytes(content)


def test_weights(tmp_path):
    rng = np.random.default_rng(4)
    old = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, []):
        pickle.dump(value, old, 2)
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/byteorder", "little")
    path = tmp_path / "weights.pth"
    for content in (old.getvalue(), new.getvalue()):
        path.write_bytes(content)
        whole = read_torch_file(path)
        for damaged in [*flips(rng, content, 40), *cuts(rng, content, 6)]:
            path.write_bytes(damaged)
            try_to_read("torch file", lambda: read_torch_file(path), path, whole)
    converted = tmp_path / "weights.npz"
    content = npz(sha256="6726825d", some=np.arange(4))
    for damaged in [*flips(rng, content, 12), *cuts(rng, content, 6)]:
        converted.write_bytes(damaged)
        try_to_read("weights, npz", lambda: load_inception_weights(converted), converted, None)


def wrong_json(rng, content, count):
    """Texts that are no such JSON: cut, of another kind, not UTF-8, nested without end."""
    yield from cuts(rng, content.rstrip(), count)
    yield from (b"[]", b"3", b"null", b'"text"', b"[[1]]", b"\xff\xfe", b"[" * 100_000)


def test_results(tmp_path):
    rng, path = np.random.default_rng(5), tmp_path / "evaluation.json"
    Records(tmp_path).add({"metric": "fid", "identity": {"step": 1}, "values": {"fid": 2.0}})
    content = path.read_bytes()
    others = ({"results": 3}, {"results": [3]}, {"results": [{}]}, {"results": [{"metric": []}]})
    for damaged in [*wrong_json(rng, content, 8), *(json.dumps(o).encode() for o in others)]:
        path.write_bytes(damaged)
        try_to_read("evaluation.json", lambda: read_results(tmp_path), path, None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A work directory with a config, the fields of its data and a checkpoint; and its run."""
    folder = tmp_path_factory.mktemp("run")
    config, spec = toy.get_config(), data.image_spec((8, 8, 1), 17, 10)
    workdirs.check_config(folder, config)
    recorded.record_data(folder, spec, {})
    run = open_trained(folder)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, run.initial_state())
    return folder, open_trained(folder)


def changed(tree, path, value):
    """A JSON tree with one of its values another, or without it (None)."""
    tree = json.loads(json.dumps(tree))
    *sections, name = path.split(".")
    inside = tree
    for section in sections:
        inside = inside[section]
    if value is None:
        del inside[name]
    else:
        inside[name] = value
    return json.dumps(tree).encode()


@pytest.mark.parametrize("name", ["config.json", "data.json"])
def test_configs_and_fields(trained, name):
    folder, _ = trained
    rng, path = np.random.default_rng(6), folder / name
    content = path.read_bytes()
    tree = json.loads(content)
    if name == "config.json":
        fields = ("method", "model", "optimizer", "train", "model.latents", "optimizer.name")
        values = (None, [], "other", -1, {"no": 1})
    else:
        fields = ("fields", "fields.image", "fields.image.shape", "fields.image.dtype")
        values = (None, 3, "other", {"no": 1})
    others = [changed(tree, field, value) for field in fields for value in values]
    try:
        for damaged in [*wrong_json(rng, content, 8), *others]:
            path.write_bytes(damaged)
            try_to_read(name, lambda: open_trained(folder), folder, None)
    finally:
        path.write_bytes(content)


# At the first error orbax leaves the coroutines of all other arrays behind.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_checkpoints(trained, monkeypatch):
    """Not every file is needed, so that some damages do no harm."""
    monkeypatch.setattr(checkpoint, "time", types.SimpleNamespace(sleep=lambda seconds: None))
    rng, (folder, run) = np.random.default_rng(7), trained
    whole = jax.device_get(run.restore("latest")[0])
    files = [file for file in (folder / "checkpoints").rglob("*") if file.is_file()]
    assert len(files) > 4
    for file in sorted(files):
        content = file.read_bytes()
        damages = [content[: len(content) // 2], *flips(rng, content, 2)] if content else []
        for damaged in [None, *damages]:  # None: the file is missing
            file.unlink() if damaged is None else file.write_bytes(damaged)
            found = folder / "checkpoints"
            try_to_read(
                "checkpoint", lambda: jax.device_get(run.restore("latest")[0]), found, whole
            )
            file.write_bytes(content)
