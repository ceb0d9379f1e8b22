"""The published networks have their number of parameters, and AGAVE's halves fit into AGAVE."""

import flax.linen as nn
import jax
import pytest

from configs import (
    adaptive_density,
    agave,
    alpha_gan,
    cycle_gan,
    flow,
    pixelcnn,
    real_nvp,
    sngan,
    vae_iaf,
)
from gm_jax.nn.weight_norm import WeightNormConv, num_parameters
from gm_jax.training.pretrained import fit_params
from tests.configs.building import create, initial

HALVES = {"vae": vae_iaf, "pixelcnn": pixelcnn}
SIZES = {"vae": 41_557_927, "pixelcnn": 53_659_080}


@pytest.mark.parametrize("name", HALVES)
def test_a_published_half_has_its_number_of_parameters(name):
    params = initial(create(HALVES[name].get_config("cifar10"))).params
    assert num_parameters(params[name]) == SIZES[name]


def test_the_papers_halves_are_whole_in_the_papers_variant():
    config = agave.get_config("cifar10")
    params = initial(create(config)).params
    assert num_parameters(params["pixelcnn"]) == SIZES["pixelcnn"]
    assert num_parameters(params["vae"]) == SIZES["vae"] + 2  # a log-scale per channel, not one
    assert config.model.kl_weight == 12.0


def fitted(name, whole, ours, half):
    """Shapes of a half's averaged parameters as AGAVE takes them."""
    theirs = {name: {"params": tree} for name, tree in initial(half).ema_params.items()}
    return jax.eval_shape(
        lambda given: fit_params("a run", name, (whole, ours), (half, given)), theirs
    )


@pytest.mark.parametrize("variant", ["digits", "photos", "fashion_mnist", "smoke"])
def test_the_halves_fit_agave_of_the_same_variant(variant):
    whole = create(agave.get_config(variant))
    ours = initial(whole).params
    for name, page in HALVES.items():
        assert fitted(name, whole, ours, create(page.get_config(variant))) == ours[name]


def test_the_halves_learn_as_published():
    rates = {name: page.get_config("cifar10").optimizer for name, page in HALVES.items()}
    assert (rates["vae"].name, rates["vae"].learning_rate) == ("adamax", 0.002)
    adam = rates["pixelcnn"]
    assert (adam.name, adam.beta1, adam.beta2, adam.epsilon_root) == ("adam", 0.95, 0.9995, 1e-8)


def test_a_constant_of_a_section_reaches_every_layer():
    config = agave.get_config("smoke").unlock()
    stds = {"vae": 0.1, "condition": 0.2, "pixelcnn": 0.3}
    config.model.update({name: {"kernel_std": std} for name, std in stds.items()})
    found = set()

    def record(call, args, kwargs, context):
        if isinstance(context.module, WeightNormConv):
            found.add(context.module.kernel_std)
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        initial(create(config.lock()))
    assert found == set(stds.values())


def test_the_papers_real_nvp_has_the_published_schedule():
    network = real_nvp.get_config("cifar10").model.real_nvp
    assert (network.num_checkerboard, network.num_channel, network.num_last) == (3, 3, 4)
    assert (network.num_scales, network.num_blocks, network.features) == (2, 8, 64)


def test_the_gan_is_as_large_as_the_papers_networks():
    """SNGAN's generator without batch norm, and the encoder symmetric to it (appendix B)."""
    params = initial(create(adaptive_density.get_config("gan,cifar10"))).params
    layers = [(128, 16 * 512, 1), (512, 256, 16), (256, 128, 16), (128, 64, 16), (64, 3, 9)]
    expected = sum(inputs * outputs * area + 2 * outputs for inputs, outputs, area in layers)
    assert num_parameters(params["decoder"]) == expected


@pytest.mark.parametrize(
    ("variant", "double_when_strided", "millions"),
    [("cifar10_cnn", False, 2.94), ("cifar10_cnn", True, 5.86), ("cifar10", None, 1.05)],
)
def test_the_discriminators_of_sngan_are_as_large_as_published(
    variant, double_when_strided, millions
):
    config = sngan.get_config(variant).unlock()
    if double_when_strided is not None:
        config.model.discriminator.double_when_strided = double_when_strided
    count = num_parameters(initial(create(config.lock())).params["discriminator"])
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("model", "count"),
    [("glow", 44_603_604), ("glow_additive", 38_395_668), ("glow_lu", 44_603_604)],
)
def test_glow_is_as_large_as_the_authors_code_makes_it(model, count):
    """From one step and from two, as every further step is like the second.

    Their prior of the last scale convolves zeros: these weights do nothing, and are left out.
    """
    config = flow.get_config(f"{model},cifar10").unlock()
    steps, sizes = config.model.network.num_steps, []
    for config.model.network.num_steps in (1, 2):
        sizes.append(num_parameters(initial(create(config)).params))
    assert sizes[0] + (steps - 1) * (sizes[1] - sizes[0]) + 9 * 96 * 96 == count


def test_nice_is_as_large_as_the_authors_code_makes_it():
    params = initial(create(flow.get_config("nice,cifar10"))).params
    half, width, hidden = 1536, 2400, (1, 1, 3, 3, 2, 2, 1, 1)
    outer = (half + 1) * width + (width + 1) * half
    expected = sum(outer + (count - 1) * (width + 1) * width for count in hidden) + 2 * half
    assert num_parameters(params) == expected


def test_cycle_gan_is_as_large_as_the_authors_code_makes_it():
    """Their layers have biases before instance norms, too, which do nothing and are left out."""
    params = initial(create(cycle_gan.get_config("horse2zebra"))).params
    before_norms = 64 + 128 + 256 + 9 * 2 * 256 + 128 + 64
    for direction in ("a_to_b", "b_to_a"):
        assert num_parameters(params[direction]) + before_norms == 11_378_179
    for critic in ("critic_a", "critic_b"):
        assert num_parameters(params[critic]) + 128 + 256 + 512 == 2_764_737
    config = cycle_gan.get_config("horse2zebra").unlock()
    config.model.generator.num_blocks = 6  # of 128×128 pixels
    smaller = num_parameters(initial(create(config)).params["a_to_b"])
    assert smaller + before_norms - 3 * 2 * 256 == 7_837_699


def test_residual_flows_are_as_large_as_the_authors_codes_make_them():
    """From one block a scale and from two. Theirs also store two fixed numbers of each block.

    i-ResNet has 16 blocks a scale of 12, 24 and 48 channels, and its learned prior.
    """
    sizes = {}
    for model in ("i_resnet", "residual"):
        config = flow.get_config(f"{model},cifar10").unlock()
        for config.model.network.num_blocks in (1, 2):
            made = initial(create(config)).params
            sizes[model, config.model.network.num_blocks] = num_parameters(made)
    whole = {
        model: sizes[model, 1] + 15 * (sizes[model, 2] - sizes[model, 1])
        for model in ("i_resnet", "residual")
    }
    assert whole["residual"] == 25_174_233 - 2 * (3 * 16 + 4)
    blocks = [2 * (9 * 512 * c + c) + 512 + 512**2 + 512 + c for c in (12, 24, 48)]
    assert whole["i_resnet"] == 16 * sum(blocks) + 2 * 3072 == 25_028_544


def parameters(variant):
    """Parameters of f_ψ, encoder and decoder; the discriminator is not part of the model."""
    params = initial(create(adaptive_density.get_config(variant))).params
    return sum(num_parameters(tree) for name, tree in params.items() if name != "discriminator")


def test_models_with_and_without_the_invertible_network_are_of_one_size():
    """A narrower generator makes up for f_ψ in the paper; the page gives the numbers."""
    without, invertible = parameters("vae,cifar10"), parameters("v_ade,cifar10")
    assert abs(invertible / without - 1) < 0.005
    for count in (without, invertible):
        assert f"{count:,}" in adaptive_density.__doc__
    assert (parameters("av_gde,cifar10"), parameters("av_ade,cifar10")) == (without, invertible)


def test_the_published_constants_of_adaptive_density_are_those_of_the_appendix():
    config = adaptive_density.get_config("av_ade,cifar10")
    optimizer, model = config.optimizer, config.model
    assert (optimizer.name, optimizer.learning_rate, optimizer.beta1) == ("adamax", 0.002, 0.9)
    assert (model.adversarial_weight, model.gradient_penalty) == (100, 100)
    assert (model.vae.num_latents, config.data.batch_size) == (32, 64)
    network = model.real_nvp
    assert (network.num_scales, network.num_last, network.num_blocks) == (1, 3, 2)


@pytest.mark.parametrize("model", alpha_gan.MODELS)
def test_the_published_constants_of_alpha_gan_are_those_of_appendix_h(model):
    for data, steps in (("cifar10", 200_000), ("celeba", 200_000), ("color_mnist", 100_000)):
        config = alpha_gan.get_config(f"{model},{data}")
        optimizer = config.optimizer
        assert (optimizer.name, optimizer.beta1, optimizer.beta2) == ("adam", 0.5, 0.9)
        assert (config.data.batch_size, config.train.steps) == (64, steps)
        assert (optimizer.learning_rate_decay, optimizer.linear_decay_steps) == (1.0, 0)
        if "code_discriminator" in config.model:
            assert config.model.code_discriminator.widths == (750, 750, 750)
        if model == "wgan_gp":
            assert (config.model.gradient_penalty, config.model.critic_steps) == (10, 5)
        dropout = model == "dcgan" and data == "color_mnist"
        assert bool(config.model.get("discriminator", {}).get("dropout_rate", 0)) == dropout


def test_flow_plus_plus_is_as_large_as_the_authors_code_makes_it():
    """From one block and from two, as every further block of the flow is like the second."""
    config = flow.get_config("flow_plus_plus,cifar10").unlock()
    blocks, sizes = config.model.network.num_blocks, []
    for config.model.network.num_blocks in (1, 2):
        sizes.append(num_parameters(initial(create(config)).params))
    assert sizes[0] + (blocks - 1) * (sizes[1] - sizes[0]) == 31_443_440
