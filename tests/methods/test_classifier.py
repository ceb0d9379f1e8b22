"""The in-domain classifier: what it is trained on, and how it judges images."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import classifier as configs
from gm_jax import methods, session
from gm_jax.evaluation import drawing
from gm_jax.evaluation.feature_networks import open_network
from gm_jax.images import spread
from gm_jax.methods.classifier import _central_crop, _random_crop
from gm_jax.training.run import open_run
from tests.support import LABELLED, LEVELS, SPEC, images, noise_of, random_variables

KEY = jax.random.key(3)
BATCH = {"image": images(16), "label": np.arange(16, dtype=np.int32) % 10}


@functools.cache
def method():
    return methods.create(configs.get_config("smoke"), LABELLED)


@functools.cache
def variables():
    return random_variables(method(), BATCH)


def test_the_score_is_the_error_and_the_cross_entropy_of_the_logits():
    logits = jax.jit(method().features)(variables(), BATCH["image"]).logits
    score = jax.jit(method().score)(variables(), BATCH, noise_of(KEY, 16))
    label = BATCH["label"]
    np.testing.assert_array_equal(score["error"], np.argmax(logits, -1) != label)
    cross_entropy = jax.nn.logsumexp(logits, -1) - logits[np.arange(16), label]
    np.testing.assert_allclose(score["cross_entropy"], cross_entropy, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="these images have no labels"):
        method().score(variables(), {"image": BATCH["image"]}, noise_of(KEY, 16))


def test_the_penalty_is_half_the_square_of_the_kernels():
    loss = jax.jit(lambda made: method().loss(made, BATCH, noise_of(KEY, 16), 0).terms)
    leaves = jax.tree_util.tree_leaves_with_path(variables()["classifier"]["params"])
    kernels = [leaf for path, leaf in leaves if path[-1].key == "kernel"]
    penalty = 1e-4 / 2 * sum(np.sum(kernel**2) for kernel in kernels)
    np.testing.assert_allclose(loss(variables())["regularization"], penalty, rtol=1e-5)
    assert len(kernels) == 3 < len(leaves)


def test_crops_are_windows_at_every_place_and_belong_to_their_example():
    x = jnp.broadcast_to(jnp.arange(64.0).reshape(8, 8, 1), (200, 8, 8, 1))
    noise, crop = noise_of(KEY, 200), jax.jit(_random_crop, static_argnums=2)
    crops = crop(noise, x, 6)
    first = crops[:, :1, :1]
    np.testing.assert_array_equal(crops - first, np.broadcast_to(x[:1, :6, :6], crops.shape))
    corners = {8 * row + column for row in range(3) for column in range(3)}
    assert set(np.asarray(first).ravel().astype(int)) == corners
    rolled = noise.replace(index=np.roll(noise.index, 7))
    np.testing.assert_array_equal(crop(rolled, x, 6), np.roll(crops, 7, axis=0))
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
    with pytest.raises(ValueError, match="--mode=sample: the method 'classifier' cannot sample"):
        drawing.sample(run)


def test_a_source_without_labels_and_a_crop_too_large_are_refused():
    config = configs.get_config("smoke").unlock()
    with pytest.raises(ValueError, match="'digits' has no labels, which Classifier needs"):
        methods.create(config, SPEC)
    config.model.crop_size = 9
    with pytest.raises(ValueError, match="crop_size = 9 does not fit images of 8×8"):
        methods.create(config, LABELLED)
