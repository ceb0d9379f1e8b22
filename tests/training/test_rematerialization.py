"""Blocks that are computed anew keep less in memory and change no gradient."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import flow, lsgan, pixelcnn, vae_iaf
from gm_jax import methods
from gm_jax.data import fields
from gm_jax.nn.noise import Dropout, Noise
from gm_jax.nn.rematerialize import block, rematerialize
from gm_jax.state import evaluation_variables
from gm_jax.training.run import open_run
from tests.support import SPEC, images

KEY = jax.random.key(3)


class Layer(nn.Module):
    """A layer of a stack, with dropout, an argument that is no array and a counter."""

    @block
    @nn.compact
    def __call__(self, x, index, skip, train):
        calls = self.variable("statistics", "calls", lambda: jnp.zeros(()))
        if train and not self.is_initializing():
            calls.value += 1
        h = Dropout(0.5)(nn.tanh(nn.Dense(16)(x)), index, train)
        return h if skip is None else h + skip


class Stack(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        index = np.arange(len(x), dtype=np.int32)
        for number in range(4):
            x = Layer()(x, index, x if number else None, train)
        return x


def test_gradients_dropout_and_statistics_are_those_without():
    x = jax.random.normal(KEY, (8, 16))
    variables = Stack().init({"params": KEY, "dropout": KEY}, x, False)

    def loss(params):
        given = {**variables, "params": params}
        y, moved = Stack().apply(given, x, True, rngs={"dropout": KEY}, mutable=["statistics"])
        return jnp.mean(y**2), moved

    def gradient(active):
        with rematerialize(active):
            return jax.jit(lambda params: jax.grad(loss, has_aux=True)(params))(variables["params"])

    kept, anew = gradient(False), gradient(True)
    chex.assert_trees_all_close(anew, kept, rtol=1e-6)
    assert all(calls == 1 for calls in jax.tree.leaves(anew[1]))


@pytest.mark.parametrize(
    ("page", "variant"),
    [
        (pixelcnn, "smoke"),
        (vae_iaf, "smoke"),
        (flow, "glow,smoke"),
        (flow, "flow_plus_plus,smoke"),
        (flow, "residual,smoke"),
    ],
)
def test_less_is_kept_for_the_backward_pass(page, variant):
    """Traced alone: XLA for CPU finds what is computed twice, and keeps it after all."""
    method = methods.create(page.get_config(variant), SPEC)
    batch = fields.blanks(SPEC, 16)
    (player,), noise = method.players, Noise(KEY, np.arange(16, dtype=np.int32))
    variables = evaluation_variables(jax.eval_shape(method.init, KEY, batch))

    def bytes_kept(active):
        def terms(variables):
            return player.loss(variables, batch, noise, 0).terms

        with rematerialize(active):
            backward = jax.eval_shape(lambda v: jax.vjp(terms, v)[1], variables)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))

    assert bytes_kept(True) < 0.8 * bytes_kept(False)


@pytest.mark.parametrize(("page", "variant"), [(vae_iaf, "smoke"), (flow, "residual,smoke")])
def test_the_step_of_a_method_is_that_without(page, variant):
    """Gradients (by the optimizer's moments) and statistics, such as singular vectors that move."""
    batch = {"image": images(8)}

    def stepped(active):
        config = page.get_config(variant).unlock()
        config.train.rematerialize = active
        method = methods.create(config.lock(), SPEC)
        state = jax.jit(method.init)(KEY, batch)
        return jax.device_get(jax.jit(method.train_step)(state, batch, KEY))

    (kept, terms), (anew, same_terms) = stepped(False), stepped(True)
    chex.assert_trees_all_close(same_terms, terms, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(anew.statistics, kept.statistics, rtol=1e-5)
    moments = [jax.tree.leaves(state.opt_state) for state in (anew, kept)]
    for ours, theirs in zip(*moments, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def test_networks_without_blocks_are_refused(tmp_path):
    config = lsgan.get_config("smoke").unlock()
    config.train.rematerialize = True
    with pytest.raises(ValueError, match="of the method 'lsgan' have no blocks"):
        open_run(config.lock(), tmp_path).check_start()
