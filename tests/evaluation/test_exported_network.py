"""A feature network in a file gives the features of the function it was, or is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.evaluation import write_exported
from gm_jax.evaluation.exported_network import read_exported

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1)).astype(np.uint8)
WEIGHTS = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)


def network(images):
    features = images.reshape(-1, 16) / 255 @ WEIGHTS
    return {"features": features, "logits": features[:, :2]}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "linear.bin"
    write_exported(network, (4, 4, 1), path)
    return path


def test_any_number_of_images_has_the_features_of_the_function(file):
    extract, identity = read_exported(file, (4, 4, 1))
    for count in (1, 5):
        found, expected = extract(IMAGES[:count]), network(IMAGES[:count].astype(np.float64))
        assert found.keys() == expected.keys()
        for name, array in found.items():
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, expected[name], atol=1e-5)
    assert identity["name"] == "exported:linear"


def test_other_weights_are_another_network(file, tmp_path):
    write_exported(lambda images: 2 * network(images)["features"], (4, 4, 1), tmp_path / file.name)
    (one, first), (two, second) = (
        read_exported(path, (4, 4, 1)) for path in (file, tmp_path / file.name)
    )
    np.testing.assert_allclose(two(IMAGES)["features"], 2 * one(IMAGES)["features"], rtol=1e-6)
    assert first["name"] == second["name"] and first["sha256"] != second["sha256"]


def export(path, function, shape, dtype):
    exported = jax.export.export(jax.jit(function))(jax.ShapeDtypeStruct(shape, dtype))
    path.write_bytes(exported.serialize())


def test_programs_of_something_else_are_refused(file, tmp_path):
    (batch,), path = jax.export.symbolic_shape("b"), tmp_path / "other.bin"
    with pytest.raises(ValueError, match=r"not uint8 images of \(5, 4, 1\)"):
        read_exported(file, (5, 4, 1))
    for function, shape, dtype, message in (
        (jnp.sin, (batch, 4, 4, 1), jnp.float32, "not uint8 images"),
        (network, (7, 4, 4, 1), jnp.uint8, "takes 7 images at once"),
        (lambda x: x / 2, (batch, 4, 4, 1), jnp.uint8, r"not features \[B, d\]"),
    ):
        export(path, function, shape, dtype)
        with pytest.raises(ValueError, match=message):
            read_exported(path, (4, 4, 1))


def test_a_damaged_file_is_refused(file, tmp_path):
    (tmp_path / "cut.bin").write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cut\.bin cannot be read"):
        read_exported(tmp_path / "cut.bin", (4, 4, 1))
    with pytest.raises(FileNotFoundError):
        read_exported(tmp_path / "none.bin", (4, 4, 1))
