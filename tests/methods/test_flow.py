"""Flows of images and points: their density, their features and their temperature."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import flow as configs
from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.data.fields import Field
from gm_jax.distributions import gaussian_log_prob
from gm_jax.flows.transform import Context
from tests.support import LEVELS, SPEC, images, noise_of, randomized

KEY = jax.random.key(0)
IMAGES, POINTS = SPEC, {"point": Field((2,), "float32")}
BATCHES = {
    "image": {"image": images(16, seed=1)},
    "point": {"point": np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)},
}


@functools.cache
def built(variant, **network):
    """(method, batch, variables away from the start) of a tiny network."""
    config = configs.get_config(variant).unlock()
    tiny = {"features": 4, "length": 2, "hidden_layers": (1, 1)}
    if "resnet" in variant:
        tiny["num_blocks"] = 2
    ours = {name: value for name, value in tiny.items() if name in config.model.network}
    config.model.network.update({**ours, **network})
    spec = POINTS if "spirals" in variant else IMAGES
    method, batch = methods.create(config.lock(), spec), BATCHES[next(iter(spec))]
    start = jax.jit(method.init_networks)(KEY, batch, noise_of(KEY, 16))
    params = {"params": start["flow"]["params"]}
    near = jax.tree.map(lambda a, b: 0.8 * a + 0.2 * b, params, randomized(params))
    return method, batch, {"flow": start["flow"] | near}


VARIANTS = ["glow,smoke", "nice,smoke", "nice,spirals", "residual,smoke", "i_resnet,spirals"]
VARIANTS += ["planar,smoke", "iaf,smoke"]
VARIANTS += ["radial,spirals", "real_nvp,spirals"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_likelihood_is_of_the_features_and_the_data_come_back_from_them(variant):
    method, batch, variables = built(variant)
    noise = noise_of(KEY, 16)
    features = jax.jit(method.encode)(variables, batch, noise)
    back = jax.jit(method.decode)(variables, features, noise)[method.field]
    terms = jax.jit(method.log_likelihood)(variables, batch, noise)
    prior = gaussian_log_prob(features, 0.0, 0.0).reshape(16, -1).sum(1)
    np.testing.assert_allclose(terms["prior"], prior, rtol=1e-5)
    np.testing.assert_allclose(terms["log_likelihood"], prior + terms["log_det"], rtol=1e-5)
    kind, precision = ("bound", 0) if method.field == "image" else ("exact", 1e-5)
    if "residual" in variant:
        kind = "estimate"
    if "resnet" in variant:
        precision = 2 * 1e-3  # blocks of a tolerance of 1e-4, which those after it stretch
    np.testing.assert_allclose(back, batch[method.field], atol=precision)
    assert method.likelihood == kind
    assert method.validation_score == ("bits_per_dim" if method.field == "image" else "nats")


@pytest.mark.parametrize("coupling", ["additive", "affine"])
def test_the_temperature_is_exact_where_the_determinant_is_constant(coupling):
    """ln p_T(x) − ln p(x)/T², with p_T the density of f⁻¹(T·z), is the same at all x or is not."""
    method, _, variables = built("glow,spirals", coupling=coupling, num_steps=2)
    noise, t = noise_of(KEY, 16), 0.5
    draw = functools.partial(method.draw, variables, noise, None)
    z = method.encode(variables, draw(t), noise)  # near the data, where the draws are
    np.testing.assert_allclose(z, t * noise.normal(2), atol=1e-4)
    density = method.log_likelihood(variables, draw(t), noise)
    of_draws = gaussian_log_prob(z, 0.0, jnp.log(t)).sum(-1) + density["log_det"]
    spread = np.std(of_draws - density["log_likelihood"] / t**2)
    assert spread < 1e-3 if coupling == "additive" else spread > 1e-2


def test_the_loss_is_of_images_in_the_interval_of_the_page():
    method, batch, variables = built("glow,smoke")
    dequantise = method.flow.transforms[0]
    assert (dequantise.interval, dequantise.levels) == ((-0.5, 0.5), LEVELS)
    loss = jax.jit(lambda variables: method.loss(variables, batch, noise_of(KEY, 16), 0)._asdict())
    terms, curves = (loss(variables)[name] for name in ("terms", "curves"))
    nats = np.mean(terms["prior"] + terms["log_det"])
    np.testing.assert_allclose(curves["bits_per_dim"], nats / (64 * np.log(2)), rtol=1e-5)


def test_learned_noise_is_the_first_layer_of_any_flow_and_drops_units_in_training_alone():
    method, batch, variables = built("nice+variational,smoke")
    noise, params = noise_of(KEY, 16), variables["flow"]["params"]
    features = jax.jit(method.encode)(variables, batch, noise)
    back = jax.jit(method.decode)(variables, features, noise)["image"]
    np.testing.assert_array_equal(back, batch["image"])

    @functools.partial(jax.jit, static_argnums=0)
    def layer(number, x):
        return method.flow.transforms[number].apply(
            {"params": params[f"transforms_{number}"]},
            x,
            Context(False, noise),
            method="forward_and_log_det",
        )

    x, of_levels = layer(0, batch["image"])
    y, of_network = layer(1, x)
    terms = jax.jit(method.log_likelihood)(variables, batch, noise)
    np.testing.assert_allclose(y, features, atol=1e-4)
    np.testing.assert_allclose(terms["log_det"], of_levels + of_network, rtol=1e-4)
    trained = jax.jit(lambda v: method.loss(v, batch, noise, 0).terms)(variables)
    assert (terms["log_det"] != -trained["log_det"]).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="invertible network asked for a data set with a single"):
        methods.create(configs.get_config("glow,smoke"), image_spec((8, 8, 1), 1))
    config = configs.get_config("glow,smoke").unlock()
    config.model.network.kind = "planet"
    with pytest.raises(ValueError, match=r"kind is 'planet'; choose among glow, i_resnet, nice"):
        methods.create(config.lock(), SPEC)
    config = configs.get_config("glow,smoke").unlock()
    config.model.dequantisation.kind = "learned"
    with pytest.raises(ValueError, match=r"kind is 'learned'; choose among uniform, variational"):
        methods.create(config.lock(), SPEC)
    config = configs.get_config("planar,smoke").unlock()
    config.model.matmul_dtype = "bfloat16"
    with pytest.raises(ValueError, match=r"asks for bfloat16 products, but a flow of vectors"):
        methods.create(config.lock(), SPEC)
    config = configs.get_config("flow_plus_plus,smoke").unlock()
    for interval, expected in (
        (
            (-0.5, 0.5),
            r"is \(-0.5, 0.5\), but the logit of .* 'flow_plus_plus' takes .*\(0.0, 1.0\)",
        ),
        ((1.0, 0.0), r"is \(1.0, 0.0\); give its lower end first"),
    ):
        config.model.interval = interval
        with pytest.raises(ValueError, match=expected):
            methods.create(config.lock(), SPEC)
        config.unlock()
    with pytest.raises(ValueError, match="has tokens; flows are of images"):
        methods.create(configs.get_config("nice,smoke"), {"tokens": Field((3,), "int32")})
