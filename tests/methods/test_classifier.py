"""The in-domain classifier: global batch norm, crops, and a run like any other."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import classifier as configs
from gm_jax import methods, session
from gm_jax import state as train_state
from gm_jax.evaluation import report
from gm_jax.evaluation.feature_networks import open_network
from gm_jax.images import spread
from gm_jax.methods.classifier import _central_crop, _half_squared_norm, _random_crop
from gm_jax.training.parallel import Parallel
from gm_jax.training.run import open_run
from tests.support import LEVELS, SHAPE, images

KEY = jax.random.key(3)


def batch_of(count, seed=0):
    labels = np.random.default_rng(seed).integers(0, 10, count).astype(np.int32)
    return {"image": images(count, seed), "label": labels}


@pytest.fixture(scope="module")
def method():
    return methods.create(configs.get_config("smoke"), SHAPE, LEVELS, 10)


@pytest.fixture(scope="module")
def state(method):
    return jax.device_get(jax.jit(method.init)(KEY, batch_of(16)))


def test_all_devices_give_the_update_of_one(method, state):
    def update(parallel):
        placed = jax.device_put(state, parallel.replicated)
        batch = parallel.put_training_batch(batch_of(16))
        return jax.device_get(parallel.train_step(method.train_step)(placed, batch, KEY))

    alone, terms = update(Parallel("jit"))
    together, same_terms = update(Parallel("shard_map"))
    chex.assert_trees_all_close(together.params, alone.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(together.variables, alone.variables, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(same_terms, terms, rtol=1e-4)
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(),
        (alone.params, alone.variables),
        (state.params, state.variables),
    )
    assert min(jax.tree.leaves(moved)) > 1e-4  # else the equality would say nothing
    # The terms sum to the loss, and the penalty is that of the kernels before the update.
    loss = terms["cross_entropy"] + terms["regularization"]
    np.testing.assert_allclose(loss, terms["loss"], rtol=1e-6)
    penalty = 1e-4 * _half_squared_norm(state.params["classifier"])
    np.testing.assert_allclose(terms["regularization"], penalty, rtol=1e-5)


def test_an_image_is_classified_alike_in_any_batch(method, state):
    variables, batch = train_state.evaluation_variables(state), batch_of(16)
    score = jax.jit(method.score)
    whole = score(variables, batch, KEY)
    part = score(variables, jax.tree.map(lambda array: array[3:8], batch), KEY)
    np.testing.assert_allclose(part["cross_entropy"], whole["cross_entropy"][3:8], rtol=1e-5)
    logits = jax.jit(method.features)(variables, batch["image"]).logits
    np.testing.assert_array_equal(whole["error"], np.argmax(logits, -1) != batch["label"])


def test_crops_are_windows_at_every_place_and_belong_to_their_example():
    x = jnp.broadcast_to(jnp.arange(64.0).reshape(8, 8, 1), (200, 8, 8, 1))
    crops = _random_crop(KEY, jnp.arange(200), x, 6)
    first = crops[:, :1, :1]
    np.testing.assert_array_equal(crops - first, np.broadcast_to(x[:1, :6, :6], crops.shape))
    corners = {8 * row + column for row in range(3) for column in range(3)}
    assert set(np.asarray(first).ravel().astype(int)) == corners
    np.testing.assert_array_equal(_random_crop(KEY, jnp.arange(7, 9), x[:2], 6), crops[7:9])
    np.testing.assert_array_equal(_central_crop(x[:1], 6)[0, 0, 0], 9)


def test_a_run_keeps_the_checkpoint_of_least_error_and_then_judges_images(tmp_path, capsys):
    config = configs.get_config("smoke").unlock()
    config.train.update({"steps": 3, "evaluate_every_steps": 1})
    config.data.cache_dir = str(tmp_path / "cache")
    session.run(config.lock(), str(tmp_path / "run"), "train")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    errors = {
        line["step"]: line["validation/error"]
        for line in map(json.loads, lines)
        if "validation/error" in line
    }
    run = open_run(config, tmp_path / "run")
    _, step = run.restore("best")
    assert len(errors) == 3 and errors[step] == min(errors.values())
    result = json.loads((tmp_path / "run" / "test.json").read_text())
    assert f"error              {result['error']:.4f}" in capsys.readouterr().out

    network = open_network(f"classifier:{tmp_path / 'run'}", run, None, "tf1")
    test = run.dataset("test")
    outputs = network.extract(spread(test.images, LEVELS))
    error = np.mean(outputs["logits"].argmax(-1) != test.labels)
    np.testing.assert_allclose(error, result["error"])
    assert network.identity["name"] == "classifier:run" and network.identity["step"] == step
    assert [network.metric_name(name) for name in ("is", "fid", "prd")] == ["is_c", "fd_c", "prd_c"]
    with pytest.raises(ValueError, match="--mode=sample: the method 'classifier' has no such"):
        report.sample(run)


def test_a_source_without_labels_and_a_crop_too_large_are_refused():
    config = configs.get_config("smoke").unlock()
    with pytest.raises(ValueError, match="'digits' has no labels"):
        methods.create(config, SHAPE, LEVELS, None)
    config.model.crop_size = 9
    with pytest.raises(ValueError, match="crop_size = 9 does not fit images of 8×8"):
        methods.create(config, SHAPE, LEVELS, 10)
