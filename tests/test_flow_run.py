"""A trained flow of points: what a loaded run gives, how steep it is, and its place in a table."""

import csv

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import gm_jax
from configs import flow
from experiments import compare
from gm_jax import session
from gm_jax.nn.weight_norm import num_parameters


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A residual flow after 100 large steps of its page's optimizer."""
    config = flow.get_config("residual,spirals").unlock()
    config.data.update({"batch_size": 64, "train_split": "train[:512] of points:spirals"})
    config.data.update({f"{split}_split": f"{split}[:64]" for split in ("validation", "test")})
    config.model.network.update({"num_blocks": 2, "features": 8, "tolerance": 1e-5})
    config.optimizer.update({"learning_rate": 0.02, "warmup_steps": 0})
    config.train.update(dict.fromkeys(("steps", "evaluate_every_steps"), 100))
    config.train.update({"checkpoint_every_steps": 100, "init_batch_size": 64})
    config.evaluate.batch_size = 4_096
    config.sample.update({"num_images": 64, "batch_size": 64})
    folder = tmp_path_factory.mktemp("residual")
    session.run(config.lock(), str(folder), "train")
    return folder


@pytest.fixture(scope="module")
def model(workdir):
    return gm_jax.load(workdir)


def test_the_density_of_a_loaded_run_integrates_to_one(model):
    steps = np.arange(-12, 12, 0.1, np.float32)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    log_prob = model.log_likelihood(grid)
    np.testing.assert_allclose(np.exp(log_prob).sum() * 0.1**2, 1, atol=1e-3)


def test_points_come_back_from_their_features_and_samples_are_likely(model):
    x = model.sample(64)["point"]
    features = model.encode(x)
    np.testing.assert_allclose(model.decode(features)["point"], x, atol=1e-3)
    assert features.shape == x.shape == (64, 2) and features.dtype == x.dtype == np.float32
    far = np.full((64, 2), 9, np.float32)
    assert np.median(model.log_likelihood(x)) > np.median(model.log_likelihood(far)) + 2


def test_every_layer_of_a_trained_network_is_contractive(model):
    """σ of W/max(1, uᵀWv/limit) by its SVD, though u and v are those of five iterations a step."""
    limit = model.config.model.network.limit
    variables = {kind: flatten_dict(tree) for kind, tree in model._variables["flow"].items()}
    kernels = {path[:-1]: leaf for path, leaf in variables["params"].items() if "kernel" in path}
    raw, found = [], []
    for path, kernel in kernels.items():
        u, v = (variables["spectral_norm"][*path, "SpectralNorm_0", name] for name in "uv")
        raw.append(np.linalg.norm(kernel, 2))
        found.append(raw[-1] / max(1, v @ kernel @ u / limit))
    assert len(found) == 10 and sum(np.array(raw) > 1) > 3  # the limit is needed
    assert max(found) < 1 and max(found) < 1.01 * limit


def test_a_run_of_points_stands_in_a_table_in_nats_with_its_costs(workdir, model, tmp_path):
    compare.main([str(workdir), "--costs", f"--output={tmp_path}"])
    (row,) = csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines())
    nats, _, error = row["nats"].partition(" ± ")
    assert float(nats) > 0 and float(error) > 0 and row["kind"] == "exact"
    assert row["parameters"] == str(num_parameters(model._variables["flow"]["params"]))
    assert float(row["step_ms"]) > 0 and float(row["sample_ms"]) > 0
    assert "batch_size 64" in row["step_ms: depends on"]
    assert jax.devices()[0].device_kind in row["sample_ms: depends on"]
