"""CycleGAN: its losses by hand, what moves what, and the order of the step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import cycle_gan
from gm_jax import methods
from gm_jax.data.fields import SECOND_DOMAIN, Field, image_spec
from gm_jax.nn import pool
from gm_jax.state import evaluation_variables
from tests.support import LEVELS, SHAPE, images, noise_of, zeros_like

KEY, COUNT = jax.random.key(0), 8
SPEC = {"point": Field((2,), "float32"), "point_b": Field((2,), "float32")}
BATCH = {
    "point": np.random.default_rng(0).normal(size=(COUNT, 2)).astype(np.float32),
    "point_b": np.random.default_rng(1).normal(size=(COUNT, 2)).astype(np.float32),
}
NOISE = noise_of(KEY, COUNT)
GREY, BLACK_AND_WHITE = image_spec(SHAPE, LEVELS), image_spec(SHAPE, 2)
close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


def pair(first, second):
    return first | {name + SECOND_DOMAIN: field for name, field in second.items()}


@functools.cache
def method(**fields):
    config = cycle_gan.get_config("smoke_blobs").unlock()
    config.model.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return methods.create(config.lock(), SPEC)


@functools.cache
def variables(**fields):
    return evaluation_variables(jax.jit(method(**fields).init)(KEY, BATCH))


def terms_of(player, given=None, **fields):
    """The terms of a player's loss, and its statistics."""
    loss = jax.jit(lambda given: tuple(player(method(**fields))(given, BATCH, NOISE, 0)))
    return loss(given or variables(**fields))


def generators(of):
    return of.generators_loss


def critics(of):
    return of.critics_loss


def test_the_generators_loss_is_that_of_the_code():
    a, b = BATCH["point"], BATCH["point_b"]
    to_b, to_a = (functools.partial(method().mapped, variables(), d) for d in ("a_to_b", "b_to_a"))
    terms, _, statistics = terms_of(generators)
    close(terms["adversarial_b"], (method().judged(variables(), "b", to_b(a)) - 1) ** 2)
    close(terms["adversarial_a"], (method().judged(variables(), "a", to_a(b)) - 1) ** 2)
    close(terms["cycle_a"], 10 * np.abs(to_a(to_b(a)) - a).mean(1))
    close(terms["cycle_b"], 10 * np.abs(to_b(to_a(b)) - b).mean(1))
    close(terms["identity_b"], 5 * np.abs(to_b(b) - b).mean(1))
    close(terms["identity_a"], 5 * np.abs(to_a(a) - a).mean(1))
    assert len(terms) == 6 and statistics is None
    assert terms_of(generators, identity_weight=0.0)[0].keys() == terms.keys() - {
        "identity_a",
        "identity_b",
    }


def test_the_critics_loss_is_half_the_squares_on_data_and_on_pooled_samples():
    past = {"samples": jnp.arange(48.0).reshape(24, 2), "count": jnp.int32(24)}
    given = variables() | {
        name: {**variables()[name], "pool": past} for name in ("critic_a", "critic_b")
    }
    terms, _, statistics = terms_of(critics, given)
    own = dict(zip("ba", NOISE.split(), strict=True))
    for domain, direction, other in (("b", "a_to_b", "point"), ("a", "b_to_a", "point_b")):
        made = method().mapped(variables(), direction, BATCH[other])
        after, seen = pool.exchange(past, made, own[domain].shared())
        assert 0 < (seen == made).all(1).sum() < COUNT  # some are new, some are not
        real = BATCH["point" if domain == "a" else "point_b"]
        on_data, on_samples = (method().judged(variables(), domain, x) for x in (real, seen))
        close(terms[f"least_squares_{domain}"], ((on_data - 1) ** 2 + on_samples**2) / 2)
        jax.tree.map(close, statistics[f"critic_{domain}"]["pool"], after)
    assert np.abs(terms["least_squares_a"] - terms["least_squares_b"]).max() > 0


UNMOVED = {
    "adversarial_a": {"a_to_b", "critic_b"},
    "adversarial_b": {"b_to_a", "critic_a"},
    "cycle_a": {"critic_a", "critic_b"},
    "cycle_b": {"critic_a", "critic_b"},
    "identity_a": {"a_to_b", "critic_a", "critic_b"},
    "identity_b": {"b_to_a", "critic_a", "critic_b"},
    "least_squares_a": {"a_to_b", "b_to_a", "critic_b"},
    "least_squares_b": {"a_to_b", "b_to_a", "critic_a"},
}


def test_a_term_has_no_gradient_in_the_networks_that_it_does_not_see():
    """No sample of the pool leads back to its generator; the others are not zero."""

    def sums(params):
        given = {name: {**variables()[name], "params": tree} for name, tree in params.items()}
        losses = (method().generators_loss, method().critics_loss)
        terms = [loss(given, BATCH, NOISE, 0).terms for loss in losses]
        return {name: term.sum() for each in terms for name, term in each.items()}

    params = {name: collections["params"] for name, collections in variables().items()}
    for term, jacobian in jax.jit(jax.jacrev(sums))(params).items():
        zero = {name for name in jacobian if not any(map(np.any, jax.tree.leaves(jacobian[name])))}
        assert zero == UNMOVED[term], term


def test_cycles_close_for_any_map_and_its_inverse_but_identities_do_not():
    """So nothing but the identity term says which turn is meant."""
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]], np.float32)
    given = dict(variables(generator__widths=()))
    for direction, kernel in (("a_to_b", turn), ("b_to_a", turn.T)):
        given[direction] = {"params": {"Dense_0": {"kernel": kernel, "bias": np.zeros(2)}}}
    terms, _, _ = terms_of(generators, given, generator__widths=())
    for domain, x in (("a", BATCH["point"]), ("b", BATCH["point_b"])):
        close(terms[f"cycle_{domain}"], 0)
        assert (terms[f"identity_{domain}"] > 0.1 * np.abs(x).mean(1)).all()
    made = method(generator__widths=()).translate(given, BATCH, NOISE, "a_to_b")
    close(made["point"], BATCH["point"] @ turn)
    close(made["cycle"], BATCH["point"])
    close(made["cycle_error"], 0)


def test_a_step_shows_the_critics_what_the_generators_of_before_have_made():
    """Both pairs move at once, as in the code, whose samples are made before any update."""
    state = jax.jit(method().init)(KEY, BATCH)
    after, _ = jax.jit(method().train_step)(state, BATCH, KEY)
    for critic, direction, x in (
        ("critic_b", "a_to_b", "point"),
        ("critic_a", "b_to_a", "point_b"),
    ):
        past = after.statistics[critic]["pool"]
        made = method().mapped(variables(), direction, BATCH[x])
        assert past["count"] == COUNT
        close(past["samples"][:COUNT], made)
    assert not np.allclose(
        method().mapped(evaluation_variables(after), "a_to_b", BATCH["point"]),
        method().mapped(variables(), "a_to_b", BATCH["point"]),
        atol=1e-5,
    )


def test_images_come_in_the_levels_of_the_domain_that_they_come_to():
    """Where the last biases make a_to_b all white, and b_to_a all black."""
    made = methods.create(cycle_gan.get_config("smoke"), pair(GREY, BLACK_AND_WHITE))
    batch = {"image": images(4), "image_b": images(4, levels=2)}
    given = zeros_like(evaluation_variables(jax.eval_shape(made.init, KEY, batch)))
    for direction, bias in (("a_to_b", 9.0), ("b_to_a", -9.0)):
        params = given[direction]["params"]
        given[direction] = {
            "params": {
                name: {kind: leaf + bias * (kind == "bias") for kind, leaf in layer.items()}
                for name, layer in params.items()
            }
        }
    translate = jax.jit(made.translate, static_argnums=3)
    found = translate(given, {"image": batch["image"]}, noise_of(KEY, 4), "a_to_b")
    assert (found["image"] == 1).all() and (found["cycle"] == 0).all()
    error = 2 * batch["image"].mean((1, 2, 3)) / (LEVELS - 1)
    close(found["cycle_error"], error)
    found = translate(given, {"image": batch["image_b"]}, noise_of(KEY, 4), "b_to_a")
    assert (found["image"] == 0).all() and (found["cycle"] == 1).all()
    assert found["image"].dtype == found["cycle"].dtype == jnp.uint8


@pytest.mark.parametrize(
    ("spec", "fields", "expected"),
    [
        (GREY, {}, "has one domain, and CycleGan translates between two: give"),
        (pair(GREY, image_spec((8, 8, 3), 17)), {}, "identity_weight is 5.0, but images of 8×8×1"),
        (pair(GREY, image_spec((9, 8, 1), 17)), {}, "8×8×1 and 9×8×1: both domains have the same"),
        (SPEC, {}, "has points, but the networks of variant 'smoke' are for images"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(spec, fields, expected):
    config = cycle_gan.get_config("smoke").unlock()
    config.model.update(fields)
    with pytest.raises(ValueError, match=expected):
        methods.create(config, spec)


def test_domains_may_differ_in_channels_without_an_identity_term():
    config = cycle_gan.get_config("smoke").unlock()
    config.model.identity_weight = 0.0
    colour = methods.create(config, pair(GREY, image_spec((8, 8, 3), 256)))
    batch = {"image": images(4), "image_b": images(4, shape=(8, 8, 3))}
    state = jax.eval_shape(colour.init, KEY, batch)
    assert state.statistics["critic_b"]["pool"]["samples"].shape == (12, 8, 8, 3)
