"""Every model of adaptive density estimation builds, and the likelihood fits around the GAN."""

import pytest

from configs import adaptive_density, gan_likelihood
from gm_jax.nn.weight_norm import num_parameters
from tests.configs.building import create, step

MODELS = [name for name in adaptive_density.MODELS if name != "gan"]  # that is another method
VARIANTS = [
    *(f"{model},smoke" for model in MODELS),
    *("av_ade+rd+wg+iaf,smoke", "v_ade+s2,smoke", "av_gde+rd,digits", "vae,photos"),
    *("av_ade,cifar10", "av_gde,stl10", "av_ade+iaf,stl10"),
]


def built(variant, **model):
    config = adaptive_density.get_config(variant)
    with config.unlocked():
        config.model.update(model)
    return step(create(config), config)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_of_every_model_builds(variant):
    state, terms = built(variant)
    adversarial = variant.startswith("av_")
    assert ("discriminator" in state.params) == adversarial
    assert ("real_nvp" in state.params) == ("ade" in variant)
    prefix = "generator/" if adversarial else ""
    assert {f"{prefix}{name}" for name in ("loss", "bits_per_dim", "kl")} < terms.keys()


def test_a_step_of_every_choice_builds():
    choices = {"likelihood_unit": "dimension", "adversarial_sample": "noise"}
    choices |= {"encoder_input": "image", "class_conditional": True, "matmul_dtype": "bfloat16"}
    state, _ = built("av_ade+rd,smoke", **choices)
    assert state.params["encoder"]["WeightNormConv_0"]["g"].shape == (10, 8)


def test_parameters_are_averaged_where_no_running_statistics_belong_to_them():
    state, _ = built("av_gde,smoke", ema_decay=0.99)
    assert state.ema_params.keys() == state.params.keys()
    with pytest.raises(ValueError, match=r"model.ema_decay is 0.99: the running statistics"):
        built("av_ade,smoke", ema_decay=0.99)


@pytest.mark.parametrize("variant", ["gan,digits", "gan+rd,cifar10", "gan+wg,stl10"])
def test_a_step_of_a_gan_builds(variant):
    state, terms = built(variant)
    assert set(state.params) == {"decoder", "discriminator"}
    assert {"generator/loss", "discriminator/gradient_penalty"} < set(terms)


@pytest.mark.parametrize("variant", gan_likelihood.VARIANTS)
def test_a_step_around_the_gan_of_every_variant_builds(variant):
    generator = create(adaptive_density.get_config(f"gan,{variant}"))
    config = gan_likelihood.get_config(variant)
    state, terms = step(create(config, {"generator": generator}), config)
    assert {"loss", "bits_per_dim", "kl"} < set(terms)
    theirs = built(f"gan,{variant}")[0].params["decoder"]
    assert num_parameters(state.params["generator_decoder"]) == num_parameters(theirs)
