"""Every model of the config is complete, and builds on the images that it is for."""

import chex
import jax
import jax.numpy as jnp
import pytest

from configs import adaptive_density
from gm_jax import methods
from gm_jax.nn.weight_norm import num_parameters

MODELS = [name for name in adaptive_density.MODELS if name != "gan"]  # that is another method
IMAGES = {"digits": ((8, 8, 1), 17), "smoke": ((8, 8, 1), 17), "stl10": ((48, 48, 3), 256)}
VARIANTS = [
    *(f"{model},smoke" for model in MODELS),
    "av_ade+rd+wg+iaf,smoke", "v_ade+s2,smoke", "av_gde+rd,digits", "vae,photos",
    "av_ade,cifar10", "av_gde,stl10", "av_ade+iaf,stl10",
]  # fmt: skip


def build(config, data):
    """Shapes of the state before and after a step, and of its terms."""
    shape, levels = IMAGES.get(data, ((32, 32, 3), 256))
    method = methods.create(config, shape, levels, 10)
    size = config.data.batch_size
    batch = {"image": jnp.zeros((size, *shape), jnp.uint8), "label": jnp.zeros(size, jnp.int32)}
    key = jax.random.key(config.seed)
    state = jax.eval_shape(method.init, key, batch)
    return state, *jax.eval_shape(method.train_step, state, batch, key)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_of_every_model_builds(variant):
    config = adaptive_density.get_config(variant)
    before, after, terms = build(config, variant.partition(",")[2])
    chex.assert_trees_all_equal_shapes_and_dtypes(after, before)
    adversarial = variant.startswith("av_")
    assert ("discriminator" in before.params) == adversarial
    assert ("real_nvp" in before.params) == ("ade" in variant)
    prefix = "generator/" if adversarial else ""
    assert {f"{prefix}{name}" for name in ("loss", "bits_per_dim", "kl")} < terms.keys()


CHOICES = {"likelihood_unit": "dimension", "adversarial_sample": "noise", "encoder_input": "image",
           "class_conditional": True, "matmul_dtype": "bfloat16"}  # fmt: skip


def test_a_step_of_every_choice_builds():
    config = adaptive_density.get_config("av_ade+rd,smoke").unlock()
    config.model.update(CHOICES)
    before, after, _ = build(config.lock(), "smoke")
    chex.assert_trees_all_equal_shapes_and_dtypes(after, before)
    assert before.params["encoder"]["WeightNormConv_0"]["g"].shape == (10, 8)


def test_parameters_are_averaged_where_no_running_statistics_belong_to_them():
    config = adaptive_density.get_config("av_gde,smoke")
    config.model.ema_decay = 0.99
    before, _, _ = build(config, "smoke")
    assert before.ema_params.keys() == before.params.keys()
    config = adaptive_density.get_config("av_ade,smoke")
    config.model.ema_decay = 0.99
    with pytest.raises(ValueError, match=r"model.ema_decay is 0.99: the running statistics"):
        build(config, "smoke")


@pytest.mark.parametrize("data", adaptive_density.SETTINGS)
@pytest.mark.parametrize("model", adaptive_density.MODELS)
def test_every_variant_has_the_common_fields_and_is_locked(model, data):
    config = adaptive_density.get_config(f"{model},{data}")
    fields = (config.seed, config.data.batch_size, config.train.steps,
              config.train.checkpoint_every_steps, config.train.evaluate_every_steps)  # fmt: skip
    assert all(isinstance(field, int) for field in fields)
    assert isinstance(config.data.source, str) and config.is_locked
    assert config.method == ("gan" if model == "gan" else "adaptive_density")
    with pytest.raises(AttributeError, match="typo"):
        config.train.typo = 1


def parameters(variant):
    """How many f_ψ, encoder and decoder have; the discriminator is no part of the model."""
    config = adaptive_density.get_config(variant)
    vae = methods.create(config, (32, 32, 3), 256, 10).vae
    image, index = jnp.zeros((4, 32, 32, 3), jnp.uint8), jnp.arange(4)
    return num_parameters(jax.eval_shape(vae.init, jax.random.key(0), image, index, None)[0])


def test_models_with_and_without_the_invertible_network_are_of_one_size():
    """The paper pays for f_ψ in the generator's width; the docstring says with what result."""
    without, invertible = parameters("vae,cifar10"), parameters("v_ade,cifar10")
    assert abs(invertible / without - 1) < 0.005
    for count in (without, invertible):
        assert f"{count:,}" in adaptive_density.__doc__
    assert (parameters("av_gde,cifar10"), parameters("av_ade,cifar10")) == (without, invertible)


def test_the_published_constants_are_those_of_the_appendix():
    config = adaptive_density.get_config("av_ade,cifar10")
    optimizer, model = config.optimizer, config.model
    assert (optimizer.name, optimizer.learning_rate, optimizer.beta1) == ("adamax", 0.002, 0.9)
    assert (model.adversarial_weight, model.gradient_penalty) == (100, 100)
    assert (model.vae.num_latents, config.data.batch_size) == (32, 64)
    scales, blocks = model.real_nvp.num_scales, model.real_nvp.num_blocks
    assert (scales, model.real_nvp.num_last, blocks) == (1, 3, 2)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("ade", r"unknown model 'ade' in variant 'ade'; choose among gan, vae, v_ade"),
        ("av_ade+wd,digits", r"unknown refinement 'wd'.*choose among rd, wg, iaf, s2"),
        ("av_ade,cifar100", r"unknown data 'cifar100'.*cifar10, stl10"),
        ("vae+s2", r"refinement 's2': the model 'vae' has no f_ψ"),
        ("av_gde+s2", r"refinement 's2': the model 'av_gde' has no f_ψ"),
        ("v_ade+rd", r"refinement 'rd': the model 'v_ade' has no discriminator"),
        ("av_ade+wg+wg", r"a refinement stands twice in variant 'av_ade\+wg\+wg'"),
        ("gan+iaf", r"refinement 'iaf': the model 'gan' has no posterior"),
    ],
)
def test_what_is_unknown_or_does_not_apply_is_refused(variant, expected):
    with pytest.raises(ValueError, match=expected):
        adaptive_density.get_config(variant)
