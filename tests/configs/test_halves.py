"""The configs of the halves: complete, of the published size, and fit for AGAVE's."""

import jax
import jax.numpy as jnp
import pytest

from configs import agave, pixelcnn, vae_iaf
from gm_jax import methods
from gm_jax.nn.weight_norm import num_parameters
from gm_jax.training.pretrained import fit_params

HALVES = {"vae": vae_iaf, "pixelcnn": pixelcnn}
IMAGES = {"digits": ((8, 8, 1), 17), "smoke": ((8, 8, 1), 17)}
SIZES = {"vae": 41_557_927, "pixelcnn": 53_659_080}


def create(module, variant):
    config = module.get_config(variant)
    return methods.create(config, *IMAGES.get(variant, ((32, 32, 3), 256)), 10), config


def shapes(method):
    batch = {"image": jnp.zeros((2, *method.image_shape), jnp.uint8)}
    return jax.eval_shape(method.init, jax.random.key(0), batch)


@pytest.mark.parametrize("name", HALVES)
def test_the_papers_variant_has_its_number_of_parameters(name):
    assert num_parameters(shapes(create(HALVES[name], "cifar10")[0]).params[name]) == SIZES[name]


@pytest.mark.parametrize("variant", ["digits", "photos", "smoke"])
@pytest.mark.parametrize("name", HALVES)
def test_a_half_fits_agave_of_the_same_variant(name, variant):
    half, whole = create(HALVES[name], variant)[0], create(agave, variant)[0]
    theirs = {name: {"params": tree} for name, tree in shapes(half).ema_params.items()}
    ours = shapes(whole).params
    given = jax.eval_shape(
        lambda variables: fit_params("a run", name, (whole, ours), (half, variables)), theirs
    )
    assert given == ours[name]


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("variant", ["digits", "photos"])
def test_a_step_of_a_variant_builds(name, variant):
    method, config = create(HALVES[name], variant)
    state = shapes(method)
    batch = {"image": jnp.zeros((config.data.batch_size, *method.image_shape), jnp.uint8)}
    after, terms = jax.eval_shape(method.train_step, state, batch, jax.random.key(0))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert {"loss", "bits_per_dim"} < set(terms) and config.is_locked


@pytest.mark.parametrize("module", HALVES.values())
def test_an_unknown_variant_is_refused(module):
    with pytest.raises(ValueError, match=r"'cifar100'.*cifar10"):
        module.get_config("cifar100")


def test_the_halves_learn_as_published():
    rates = {name: module.get_config("cifar10").optimizer for name, module in HALVES.items()}
    assert (rates["vae"].name, rates["vae"].learning_rate) == ("adamax", 0.002)
    adam = rates["pixelcnn"]
    assert (adam.name, adam.beta1, adam.beta2, adam.epsilon_root) == ("adam", 0.95, 0.9995, 1e-8)
