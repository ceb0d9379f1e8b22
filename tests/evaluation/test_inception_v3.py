"""The Inception port against an independent implementation, and weights that must be refused."""

import hashlib
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from gm_jax.evaluation import inception_features, load_inception_weights
from gm_jax.evaluation.inception_v3 import InceptionV3
from gm_jax.evaluation.inception_weights import _write_npz, variables_from_state_dict
from gm_jax.evaluation.resize import resize


@pytest.fixture(scope="module")
def stored():
    """Computed once in float64 by FeatureExtractorInceptionV3 of torch-fidelity 0.4.0 (torch
    2.13.0), its resize left out, with the weights and images below; and its layout."""
    with np.load(Path(__file__).parent / "stored_references.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def state_dict(stored):
    """Random weights in the layout of the published file."""
    rng, state = np.random.RandomState(0), {}  # its stream is frozen
    for name, shape in json.loads(stored["inception_layout"].tobytes()):
        uniform = rng.random_sample(shape)
        if name.endswith(("running_var", "bn.weight")):
            values = 0.5 + uniform
        elif len(shape) > 1:
            values = (2 * uniform - 1) * np.sqrt(6 / np.prod(shape[1:]))
        else:
            values = 0.4 * (uniform - 0.5)
        state[name] = values.astype(np.float32)
    return state


@pytest.fixture(scope="module")
def variables(state_dict):
    return variables_from_state_dict(state_dict)


@pytest.fixture(scope="module")
def images():
    noise = np.random.RandomState(1).randint(0, 256, (2, 107, 139, 3)) // 2
    return (noise + np.arange(139)[:, None] * 127 // 138).astype(np.uint8)


@pytest.fixture(scope="module")
def outputs(variables, images):
    return jax.jit(InceptionV3().apply)(variables, images)


@pytest.mark.parametrize("output", ["pool", "logits"])
def test_the_port_agrees_with_the_torch_network(stored, outputs, output):
    ours = outputs.features if output == "pool" else outputs.logits
    expected = stored[f"inception_{output}"]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_features_are_those_of_the_resized_images_whatever_the_batch(variables, images):
    extract = inception_features(variables, "tf1")
    grey = images[:, 20:52, 20:52, :1]
    together = extract(grey)
    resized = resize(np.repeat(grey, 3, axis=-1), "tf1")
    expected = jax.jit(InceptionV3().apply)(variables, resized)
    np.testing.assert_allclose(together.features, expected.features, rtol=1e-4, atol=1e-5)
    alone = extract(grey[1:])
    np.testing.assert_allclose(alone.logits[0], together.logits[1], rtol=1e-4, atol=1e-4)


def test_a_conversion_is_read_back(variables, tmp_path, monkeypatch):
    _write_npz(tmp_path / "a.npz", variables, "6726825d" + 56 * "0")
    monkeypatch.setenv("GM_JAX_INCEPTION_WEIGHTS", str(tmp_path / "a.npz"))
    loaded = load_inception_weights()
    assert loaded.is_canonical and loaded.sha256.startswith("6726825d")
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), loaded.variables, variables))


def test_missing_weights_say_which_file_and_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("GM_JAX_INCEPTION_WEIGHTS", raising=False)
    for path in (None, tmp_path / "nothing.pth"):
        with pytest.raises(FileNotFoundError) as error:
            load_inception_weights(path)
        for part in (
            "pt_inception-2015-12-05-6726825d.pth",
            "GM_JAX_INCEPTION_WEIGHTS",
            "mseitzer/pytorch-fid",
            "fid_weights",
        ):
            assert part in str(error.value)


@pytest.mark.parametrize("name", ["pt_inception-2015-12-05-6726825d.pth", "renamed.pth"])
def test_a_file_with_another_hash_is_refused(stored, tmp_path, name):
    (tmp_path / name).write_bytes(stored["torch_zip"].tobytes())
    with pytest.raises(ValueError, match=r"not 6726825d\.\.\.: damaged or another file"):
        load_inception_weights(tmp_path / name)


def test_a_file_of_another_network_is_refused(stored, tmp_path):
    data = stored["torch_legacy"].tobytes()
    path = tmp_path / f"other-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"'0\.weight' is no weight of the FID literature"):
        load_inception_weights(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("Mixed_6c.branch_pool.bn.bias"), "1 are missing"),
        (lambda state: state.update({"fc.weight": np.zeros((1000, 2048))}), r"\(2048, 1000\)"),
        (lambda state: state.update({"extra.conv.weight": np.zeros(1)}), "1 are unknown"),
        (lambda state: state.update({"fc.weight": np.full((1008, 2048), np.nan)}), "NaN"),
    ],
)
def test_an_incomplete_or_foreign_layout_is_refused(state_dict, change, message):
    state = dict(state_dict)
    change(state)
    with pytest.raises(ValueError, match=message):
        variables_from_state_dict(state)


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 32, 32, 3), np.float32), np.zeros((1, 32, 32, 2), np.uint8), np.zeros((32, 32))],
)
def test_what_is_no_batch_of_uint8_images_is_refused(images):
    with pytest.raises(ValueError, match="images are uint8"):
        inception_features({})(images)
