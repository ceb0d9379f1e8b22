"""CycleGAN's networks: norms, borders, patches, and what they refuse."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.networks import cycle_gan
from gm_jax.networks.cycle_gan import DOUBLING, Generator, PatchCritic, instance_norm

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (2, 8, 8, 3))


def applied(network, x):
    return jax.jit(lambda x: network.init_with_output(KEY, x)[0])(x)


def test_an_instance_norm_standardises_each_image_by_itself():
    x = 3 * X + 2
    moments = functools.partial(np.mean, axis=(1, 2))
    np.testing.assert_allclose(moments(instance_norm(x)), 0, atol=1e-5)
    np.testing.assert_allclose(moments(instance_norm(x) ** 2), 1, rtol=1e-4)
    np.testing.assert_allclose(instance_norm(x[:1]), instance_norm(x)[:1], atol=1e-6)


def test_a_flat_image_stays_flat_as_reflection_shows_no_border():
    """Padding with zeros, as in the strided convolutions, shows it."""
    flat = jnp.full((1, 8, 8, 3), 0.7)
    made = applied(Generator(1, (4,), 1), flat)
    np.testing.assert_allclose(made, np.broadcast_to(made[:, :1, :1], made.shape), atol=1e-6)
    assert np.ptp(applied(PatchCritic((4, 4)), flat)) > 1e-3


def test_doubling_is_the_transpose_of_halving():
    """⟨halve(x), y⟩ = ⟨x, double(y)⟩ with the same kernel: torch's transposed convolution."""
    halve = nn.Conv(5, (3, 3), (2, 2), padding=1, use_bias=False)
    double = nn.ConvTranspose(3, (3, 3), (2, 2), padding=DOUBLING, use_bias=False)
    y, kernel = jax.random.normal(KEY, (2, 4, 4, 5)), jax.random.normal(KEY, (3, 3, 3, 5))
    transposed = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    down = jax.jit(halve.apply)({"params": {"kernel": kernel}}, X)
    up = jax.jit(double.apply)({"params": {"kernel": transposed}}, y)
    np.testing.assert_allclose(np.vdot(down, y), np.vdot(X, up), rtol=1e-4)


@pytest.mark.parametrize(("widths", "side"), [((2,) * 4, 70), ((2,) * 3, 34), ((2,) * 2, 16)])
def test_the_critic_judges_patches_of_the_papers_size(monkeypatch, widths, side):
    """Where its norms, which see the whole image, are left out. No term cancels another."""
    monkeypatch.setattr(cycle_gan, "instance_norm", lambda x: x)
    critic, x = PatchCritic(widths), jnp.ones((1, 96, 96, 1))
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), jax.eval_shape(critic.init, KEY, x))
    middle = lambda x: jnp.take(critic.apply(params, x)[0].ravel(), places // 2)  # noqa: E731
    rows, columns = jax.eval_shape(critic.apply, params, x).shape[1:]
    places = rows * columns + columns
    seen = np.asarray(jax.jit(jax.grad(middle))(x))[0, :, :, 0] != 0
    assert (seen.any(0).sum(), seen.any(1).sum(), seen.sum()) == (side, side, side**2)


@pytest.mark.parametrize(("side", "patches"), [(256, 30), (70, 6), (24, 1)])
def test_a_critic_has_a_number_for_every_patch(side, patches):
    critic = PatchCritic((64, 128, 256, 512))
    make = lambda x: critic.init_with_output(KEY, x)[0]  # noqa: E731
    assert jax.eval_shape(make, jnp.zeros((3, side, side, 3))).shape == (3, patches, patches)


@pytest.mark.parametrize(
    ("network", "side", "expected"),
    [
        (
            Generator(1, (4, 4, 4), 1),
            10,
            "halves them 2 times.*multiples of 4, from 8.*resize to 8",
        ),
        (Generator(1, (4, 4, 4), 1), 4, "from 8 on; set data.resize to 8"),
        (Generator(1, (4,), 1), 3, "multiples of 1, from 4 on; set data.resize to 4"),
        (PatchCritic((4, 4, 4)), 8, r"widths is \(4, 4, 4\), on images of 8×8"),
        (PatchCritic((4,)), 8, "give two widths or more"),
    ],
)
def test_images_that_do_not_fit_are_refused_with_the_way_out(network, side, expected):
    with pytest.raises(ValueError, match=expected):
        jax.eval_shape(network.init, KEY, jnp.zeros((1, side, side, 1)))
