"""The pages' variants build their networks on the images that they are meant for.

Only shapes are traced; `tests/methods` runs steps of the smoke variants, and `test_sizes.py` counts
the parameters of the published networks.
"""

import importlib
import itertools

import pytest

from configs import (
    adaptive_density,
    adversarial_autoencoder,
    alpha_gan,
    bigan,
    code_prior,
    flow,
    flow_gan,
    gan_likelihood,
    hybrid,
    mixed_batch_gan,
    pixel_vae,
    vae,
    vq_vae,
)
from gm_jax.methods.player import in_order
from gm_jax.nn.batch_norm import COLLECTION
from gm_jax.nn.weight_norm import num_parameters
from tests.configs.building import create, initial, step

AAE = adversarial_autoencoder
NETWORKS = {
    "agave": {"vae", "condition", "pixelcnn"},
    "classifier": {"classifier"},
    "cycle_gan": {"a_to_b", "b_to_a", "critic_a", "critic_b"},
    "lsgan": {"discriminator", "decoder"},
    "pixelcnn": {"pixelcnn"},
    "real_nvp": {"real_nvp"},
    "sngan": {"discriminator", "generator"},
    "vae_gan": {"encoder", "generator", "discriminator"},
    "vae_iaf": {"vae"},
    "wgan_gp": {"discriminator", "decoder"},
}
MIXED_BATCHES = ["m_bgan,photos", "bgan,cifar10", "sn,celeba", "wgp,stl10", "mixup,fashion_mnist"]
MODELS = {
    "vae,photos": {"encoder", "decoder"},
    "av_ade,fashion_mnist": {"discriminator", "real_nvp", "encoder", "decoder"},
    "v_ade+s2,smoke": {"real_nvp", "encoder", "decoder"},
    "av_gde+rd,digits": {"discriminator", "encoder", "decoder"},
    "av_ade+iaf,stl10": {"discriminator", "real_nvp", "encoder", "decoder"},
    "av_ade+rd+wg+iaf,smoke": {"discriminator", "real_nvp", "encoder", "decoder"},
    "gan+rd,cifar10": {"discriminator", "decoder"},
    "gan+wg,stl10": {"discriminator", "decoder"},
}
ENCODING = {"encoder", "generator"}
OF_ALPHA_GAN = {
    "alpha_gan": ENCODING | {"discriminator", "code_discriminator"},
    "alpha_gan_kl": ENCODING | {"discriminator"},
    "age": ENCODING,
    "dcgan": {"generator", "discriminator"},
    "wgan_gp": {"generator", "discriminator"},
}


def page(name):
    return importlib.import_module(f"configs.{name}")


def check_recalibration(config, state):
    """A page says how batch norms are evaluated exactly if there are any."""
    batch_norms = any(COLLECTION in collections for collections in state.statistics.values())
    assert ("recalibration_batches" in config.evaluate) == batch_norms


@pytest.mark.parametrize("name", NETWORKS)
def test_every_variant_of_a_page_makes_its_method(name):
    for variant in page(name).VARIANTS:
        method = create(page(name).get_config(variant))
        moved = {network for player in in_order(method.players) for network in player.networks}
        assert moved == NETWORKS[name], variant


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_of_minutes_fit_their_images(name):
    for variant in {"digits", "photos", "fashion_mnist"} & set(page(name).VARIANTS):
        config = page(name).get_config(variant)
        state = initial(create(config))
        assert state.params.keys() == NETWORKS[name]
        check_recalibration(config, state)


@pytest.mark.parametrize("variant", pixel_vae.VARIANTS)
def test_pixel_vaes_fit_their_images(variant):
    config = pixel_vae.get_config(variant)
    state = initial(create(config))
    assert ("prior" in state.params) == (config.model.prior.length > 0)


@pytest.mark.parametrize("variant", MIXED_BATCHES)
def test_mixed_batches_and_their_rivals_share_networks(variant):
    config = mixed_batch_gan.get_config(variant)
    state = initial(create(config))
    assert state.params.keys() == {"discriminator", "generator"}
    check_recalibration(config, state)


@pytest.mark.parametrize("model", flow.MODELS)
def test_flows_fit_their_images_and_points(model):
    for data in flow.DATA:
        config = flow.get_config(f"{model},{data}")
        if model == "iaf" and data in ("photos", "cifar10"):
            with pytest.raises(ValueError, match="flow of 3072 dimensions takes as many passes"):
                create(config)
            continue
        method = create(config)
        if data != "cifar10":  # `test_sizes.py` traces these
            state = initial(method)
            assert state.params.keys() == {config.method}
            check_recalibration(config, state)


@pytest.mark.parametrize("model", hybrid.MODELS)
def test_hybrids_are_flows_with_a_classifier(model):
    method = create(hybrid.get_config(f"{model},digits"))
    params = initial(method).params
    assert params.keys() == {"flow", "classifier"} == {*method.players[0].networks}
    assert params["classifier"]["kernel"].shape == (64, 10)
    create(hybrid.get_config(f"{model},cifar10"))


@pytest.mark.parametrize("variant", ["glow+variational,smoke", "flow_plus_plus+uniform,smoke"])
def test_a_flow_takes_either_dequantisation(variant):
    params = initial(create(flow.get_config(variant))).params["flow"]
    assert ("transforms_0" in params) == ("variational" in variant)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("real_nvp+variational", "the flow 'real_nvp' has no choice of dequantisation"),
        ("glow+variational,ring", r"'glow\+variational,ring': points have no levels"),
    ],
)
def test_a_choice_of_dequantisation_that_cannot_be_is_refused(variant, expected):
    with pytest.raises(ValueError, match=expected):
        flow.get_config(variant)


@pytest.mark.parametrize("mode", flow_gan.MODELS)
def test_modes_of_flow_gan_have_one_flow_and_adversarial_ones_a_critic(mode):
    critic = set() if mode == "likelihood" else {"discriminator"}
    for data in flow_gan.DATA:
        method = create(flow_gan.get_config(f"{mode},{data}"))
        moved = {network for player in in_order(method.players) for network in player.networks}
        assert moved == {"flow"} | critic
        if data != "cifar10":
            assert initial(method).params.keys() == moved


@pytest.mark.parametrize("posterior", vae.MODELS)
def test_posteriors_of_the_vae_fit_all_data(posterior):
    for data in vae.DATA:
        state = initial(create(vae.get_config(f"{posterior},{data}")))
        assert state.params.keys() == {"encoder", "decoder"}
        assert ("flow" in state.params["encoder"]) == (posterior != "gaussian")


@pytest.mark.parametrize(("page", "judge"), [(bigan, "discriminator"), (AAE, "code_discriminator")])
def test_bidirectional_gans_and_adversarial_auto_encoders_fit_all_data(page, judge):
    for model, data in itertools.product(page.MODELS, page.DATA):
        config = page.get_config(f"{model},{data}")
        state = initial(create(config))
        assert state.params.keys() == ENCODING | {judge}
        check_recalibration(config, state)


@pytest.mark.parametrize("variant", MODELS)
def test_models_and_refinements_of_adaptive_density_have_their_networks(variant):
    config = adaptive_density.get_config(variant)
    state = initial(create(config))
    assert state.params.keys() == MODELS[variant]
    check_recalibration(config, state)


@pytest.mark.parametrize("model", OF_ALPHA_GAN)
def test_models_of_alpha_gan_have_their_networks_on_all_data(model):
    """And a learning rate for each, and none for others."""
    for data in alpha_gan.DATA:
        config = alpha_gan.get_config(f"{model},{data}")
        method = create(config)
        state = initial(method)
        assert state.params.keys() == OF_ALPHA_GAN[model]
        check_recalibration(config, state)
        players = {player.name for player in method.players}
        assert players == OF_ALPHA_GAN[model] == {*config.optimizer.learning_rate}


def test_a_step_of_every_choice_of_adaptive_density_builds():
    config = adaptive_density.get_config("av_ade+rd,smoke").unlock()
    config.model.update({"likelihood_unit": "dimension", "adversarial_sample": "noise"})
    config.model.update({"encoder_input": "image", "class_conditional": True})
    config.model.matmul_dtype = "bfloat16"
    state, _ = step(create(config.lock()), config)
    assert state.params["encoder"]["WeightNormConv_0"]["g"].shape == (10, 8)


def test_parameters_are_averaged_where_no_running_statistics_belong_to_them():
    def averaged(variant):
        config = adaptive_density.get_config(variant).unlock()
        config.model.ema_decay = 0.99
        return initial(create(config.lock()))

    state = averaged("av_gde,smoke")
    assert state.ema_params.keys() == state.params.keys()
    with pytest.raises(ValueError, match=r"model.ema_decay is 0.99: the running statistics"):
        averaged("av_ade,smoke")


@pytest.mark.parametrize("variant", gan_likelihood.VARIANTS)
def test_the_likelihood_fits_around_the_gan_of_every_variant(variant):
    generator = create(adaptive_density.get_config(f"gan,{variant}"))
    state = initial(create(gan_likelihood.get_config(variant), {"generator": generator}))
    theirs = initial(generator).params["decoder"]
    assert num_parameters(state.params["generator_decoder"]) == num_parameters(theirs)


@pytest.mark.parametrize("variant", vq_vae.VARIANTS)
def test_the_prior_of_codes_fits_the_quantiser_of_every_variant(variant):
    quantiser = create(vq_vae.get_config(variant))
    state = initial(create(code_prior.get_config(variant), {"quantiser": quantiser}))
    theirs = initial(quantiser)
    assert num_parameters(state.params["quantiser_decoder"]) == num_parameters(
        theirs.params["decoder"]
    )
    assert state.statistics == {"quantiser_encoder": theirs.statistics["encoder"]}
