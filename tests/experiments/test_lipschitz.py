"""Control of the slope side by side, two lines, vanishing gradients, loss and quality."""

import csv
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lipschitz import (
    loss_follows_quality,
    recipes,
    side_by_side,
    two_lines,
    vanishing_gradients,
)
from gm_jax.dequantization import CENTRED, requantize
from gm_jax.evaluation.transport import wasserstein_distance
from gm_jax.networks.mlp import Mlp
from gm_jax.nn import layers, spectral_norm
from gm_jax.state import evaluation_variables


def rows_of(path):
    return [*csv.DictReader(path.read_text().splitlines())]


@pytest.mark.parametrize("theta", [-0.5, 0.0, 0.25])
def test_the_lines_are_as_far_apart_as_the_closed_form_says(theta):
    first, second = (two_lines.line(jax.random.key(0), x, 50) for x in (0.0, theta))
    found = wasserstein_distance(first, second)
    np.testing.assert_allclose(found, two_lines.closed_forms(theta)["w1"], rtol=1e-6)


@pytest.mark.parametrize("theta", [-1.0, 0.25])
def test_the_best_penalised_critic_is_that_of_the_closed_form(theta):
    """Of critics k·x₁, whose objective is −k·θ − λ(|k| − 1)²; the generator's loss is −k·θ."""
    k = np.linspace(-2, 2, 400_001)
    best = k[np.argmax(-k * theta - two_lines.PENALTY * (abs(k) - 1) ** 2)]
    expected = two_lines.closed_forms(theta)["penalised_w1"]
    np.testing.assert_allclose(-best * theta, expected, atol=1e-5)
    gradient = two_lines.closed_gradients(theta)["penalised_critic"]
    np.testing.assert_allclose(-best, gradient, atol=1e-5)


def test_trained_critics_come_to_the_closed_forms(tmp_path):
    options = SimpleNamespace(theta=[-0.5, 0.5], updates=300, seeds=["0", "1"])
    options.output = str(tmp_path)
    two_lines.compare(options)
    assert (tmp_path / "two_lines.png").exists()
    for row in rows_of(tmp_path / "two_lines.csv"):
        found = {name: float(value) for name, value in row.items()}
        if found["updates"] == 300:
            assert abs(found["trained_js"] - math.log(2)) < 0.02 and found["trained_kl"] > 2
            assert abs(found["trained_w1"] - found["penalised_w1"]) < 0.05
            closed = found["penalised_critic_gradient"]
            assert abs(found["trained_wasserstein_gradient"] - closed) < 0.1
            of_generators = (found[f"trained_{n}_gradient"] for n in ("minimax", "log_ratio"))
            assert abs(next(of_generators)) < 0.05 * abs(next(of_generators))


def test_singular_values_bound_the_slope_and_a_spectral_norm_divides_them_out():
    x = jax.random.normal(jax.random.key(0), (64, 2))
    for kind, most in ((layers.PLAIN, math.inf), (layers.spectral_norm("reshaped"), 1.01)):
        network = Mlp((8, 8), None, layers=kind)
        variables = network.init(jax.random.key(1), x)
        iterate = jax.jit(lambda v, n=network: spectral_norm.iterate(n, v, x[:1])[0])
        for _ in range(100):
            variables = iterate(variables)
        norms = np.asarray(recipes.layer_norms(variables))
        slopes = jax.grad(lambda x, n=network, v=variables: n.apply(v, x).sum())(x)
        slope = float(jnp.linalg.norm(slopes, axis=1).max())
        assert 0 < slope <= norms.prod() * 1.0001 and norms.max() < most
    np.testing.assert_allclose(norms, 1, rtol=0.01)


def test_points_of_a_digit_are_in_its_cell():
    data = recipes.training_cells("digits")
    found = recipes.draw(jax.random.key(0), {**data, "low": data["low"][:1]}, 5)
    levels = requantize(found, 17, CENTRED)
    middle = data["low"][0] + data["side"] / 2
    np.testing.assert_array_equal(levels, np.tile(requantize(middle, 17, CENTRED), (5, 1)))
    assert found.std(0).min() > 0


def test_a_recipe_that_there_is_not_is_refused_in_one_line(capsys):
    of_fields = ("wasserstein-clipping:clip=1", "wasserstein-clipping:weight_clip=small")
    for recipe in ("wasserstein", "wasserstein-tighter", "-none", "kl-none", *of_fields):
        with pytest.raises(SystemExit):
            recipes.config_of(recipe, "ring", 0, 4)
        message = capsys.readouterr().err
        assert message.startswith(f"error: --recipe={recipe}") and message.count("\n") == 1


def test_the_gradient_of_ln_1_minus_d_vanishes_where_d_is_sure():
    """−logit = −ln D + ln(1 − D), and ∂ln(1 − D) = D·∂(−logit): with D = e⁻²⁰ it is e⁻²⁰ of it."""
    gan = recipes.gan("non_saturating-none", "ring", 4)
    data = recipes.training_cells("ring")
    variables = evaluation_variables(gan.start(0, data))
    last = variables["discriminator"]["params"]["Dense_3"]
    last["bias"], last["kernel"] = last["bias"] - 20, 1e-3 * last["kernel"]
    found = vanishing_gradients.gradients(gan.method, variables, jax.random.key(0), data)
    assert found["log_ratio"] > 0
    np.testing.assert_allclose(found["minimax"], math.exp(-20) * found["log_ratio"], rtol=0.02)
    np.testing.assert_allclose(found["non_saturating"], found["log_ratio"], rtol=1e-4)
    np.testing.assert_allclose(found["d_of_samples"], math.exp(-20), rtol=0.02)


def test_only_the_discriminator_learns_beside_a_fixed_generator():
    options = SimpleNamespace(data="ring", width=4)
    gan = vanishing_gradients.learner("non_saturating-none", options)
    data = recipes.training_cells("ring")
    before = jax.device_get(gan.start(0, data).params)
    after = gan.run(gan.start(0, data), 0, data, 3)[0].params
    for name, same in (("generator", True), ("discriminator", False)):
        moved = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), before[name], after[name])
        assert all(jax.tree.leaves(moved)) == same


def test_estimates_are_means_of_what_the_losses_say_of_the_divergences():
    """JS = ln 2 where both terms of the cross-entropy are 0, and 0 where D = ½."""
    losses = np.array([0.0, 0.0, 2 * math.log(2), 2 * math.log(2)])[:, None]
    run = {"marks": np.array([2, 4]), "losses": losses}
    found = loss_follows_quality.estimates("non_saturating-none", run)
    np.testing.assert_allclose(found, [math.log(2), 0], atol=1e-12)
    run["losses"] = np.array([-3.0, -1.0, 0.0, 1.0])[:, None]
    np.testing.assert_allclose(loss_follows_quality.estimates("wasserstein-none", run), [2, -0.5])


def test_both_programs_take_the_same_trainings(tmp_path):
    options = SimpleNamespace(data=["ring", "digits"], recipe=["wasserstein-none"])
    options.seeds, options.steps, options.width, options.output = ["0"], 4, 4, str(tmp_path)
    side_by_side.compare(options)
    rows = rows_of(tmp_path / "side_by_side.csv")
    assert [row["data"] for row in rows] == ["ring", "digits"]
    for row in rows:
        assert 0 < float(row["w1_of_data"]) < float(row["w1"])
        assert 0 < float(row["slope"]) <= float(row["bound"])
    trained = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    loss_follows_quality.correlate(options)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")} == trained
    for row in rows_of(tmp_path / "loss_follows_quality.csv"):
        assert -1 <= float(row["w1"]) <= 1 and 0 <= float(row["w1_largest_p"]) <= 1
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"ring.png", "digits.png", "ring-loss.png", "digits-loss.png"}
