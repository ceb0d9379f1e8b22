"""Noise belongs to the example, whatever its batch and device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import devices
from gm_jax.nn.noise import Dropout, Noise, keyed, standard_logistic
from tests.support import noise_of

KEY = jax.random.key(3)
DRAWS = {
    "normal": Noise.normal,
    "uniform": Noise.uniform,
    "logistic": Noise.logistic,
    "bits": Noise.bits,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_noise_of_an_example_does_not_depend_on_its_batch(draw):
    draw = jax.jit(draw, static_argnums=(1, 2))
    whole = draw(noise_of(KEY, 6), 2, 3)
    part = draw(Noise(KEY, jnp.array([4, 1])), 2, 3)
    assert whole.shape == (6, 2, 3)
    np.testing.assert_array_equal(part, whole[jnp.array([4, 1])])
    assert np.unique(np.asarray(whole)).size == whole.size


def test_noises_have_the_moments_of_their_names():
    drawn = jax.jit(lambda: [draw(noise_of(KEY, 64), 500) for draw in DRAWS.values()])()
    normal, uniform, logistic, bits = (np.asarray(draw, np.float64) for draw in drawn)
    for drawn, variance in ((normal, 1), (uniform - 0.5, 1 / 12), (logistic, np.pi**2 / 3)):
        assert abs(drawn.mean()) < 4 * np.sqrt(variance / drawn.size)
        np.testing.assert_allclose(drawn.var(), variance, rtol=0.03)
    np.testing.assert_allclose(bits.mean() / (2**16 - 1), 0.5, atol=0.01)
    assert bits.min() < 2**8 and bits.max() > 2**16 - 2**8


@pytest.mark.parametrize(
    "several",
    [lambda noise: noise.split(3), lambda noise: [noise.layer(number) for number in range(3)]],
    ids=["split", "layers"],
)
def test_split_noises_and_layers_are_independent_draws_for_the_same_examples(several):
    def draw(noise):
        return jnp.stack([other.normal(200).ravel() for other in (noise, *several(noise))])

    noise = noise_of(KEY, 64)
    correlations = np.corrcoef(jax.jit(draw)(noise))
    np.testing.assert_allclose(correlations, np.eye(4), atol=5 / np.sqrt(64 * 200))
    assert all(other.index is noise.index for other in several(noise))


def on_devices(function, count):
    """What a function of the noise of 16 examples gives on some devices, joined in order."""
    mapped = jax.pmap(
        lambda x: function(Noise(KEY, devices.index(len(x)))),
        devices.AXIS,
        devices=jax.devices()[:count],
    )
    drawn = mapped(np.zeros((count, 16 // count)))
    return jax.tree.map(lambda x: np.asarray(x).reshape(16, *x.shape[2:]), drawn)


def test_eight_devices_draw_the_noise_of_one():
    def draw(noise):
        return [*(draw(noise, 3) for draw in DRAWS.values()), noise.split()[1].normal(3)]

    jax.tree.map(np.testing.assert_array_equal, on_devices(draw, 8), on_devices(draw, 1))


def test_the_shared_key_is_one_on_all_devices_and_no_examples():
    def shared(noise):
        data = jax.random.key_data(noise.shared())
        return jnp.broadcast_to(data, (len(noise.index), *data.shape))

    everywhere = on_devices(shared, 8)
    np.testing.assert_array_equal(everywhere, on_devices(shared, 1))
    np.testing.assert_array_equal(everywhere, everywhere[:1].repeat(16, 0))
    examples = jax.random.key_data(noise_of(KEY, 1000).keys())
    assert (examples != everywhere[0]).any(-1).all()
    assert (jax.random.key_data(KEY) != everywhere[0]).any()


def test_a_keyed_function_has_the_noise_of_its_batches_index():
    drawn = keyed(lambda variables, batch, noise: variables * noise.normal(2))
    batch = {"index": np.array([5, 2], np.int32)}
    expected = 2 * np.asarray(noise_of(KEY, 6).normal(2))[[5, 2]]
    np.testing.assert_array_equal(drawn(2.0, batch, KEY), expected)


def test_logistic_noise_is_cut_at_its_published_ends():
    noise = standard_logistic(KEY, (200_000,))
    assert np.log(1e4) < np.abs(noise).max() <= np.log(1e5)


def test_dropout_keeps_the_mean_and_drops_the_rate():
    x, layer = jnp.ones((64, 8, 8, 4)), Dropout(0.25)
    y = jax.jit(lambda: layer.apply({}, x, jnp.arange(64), True, rngs={"dropout": KEY}))()
    y = np.asarray(y)
    assert abs((y == 0).mean() - 0.25) < 0.01
    np.testing.assert_allclose(y.mean(), 1, atol=0.02)
    np.testing.assert_allclose(y[y > 0], 4 / 3, rtol=1e-6)


def test_dropout_masks_follow_the_examples():
    x, layer = jnp.ones((4, 33)), Dropout(0.5)

    @jax.jit
    def drop(x, index):
        return layer.apply({}, x, index, True, rngs={"dropout": KEY})

    whole, part = drop(x, jnp.arange(4)), drop(x[:1], jnp.array([2]))
    np.testing.assert_array_equal(part[0], whole[2])
    assert (np.asarray(whole[0]) != np.asarray(whole[1])).any()


def test_dropout_does_nothing_outside_training():
    x = jnp.arange(8.0).reshape(2, 4)
    assert Dropout(0.5).apply({}, x, jnp.arange(2), False) is x
