"""Every variant of the first pages is the same config as before `page` was introduced."""

import functools
import importlib
import itertools
import json
import re
from pathlib import Path

import pytest

from configs import adaptive_density, alpha_gan, common
from gm_jax import pages
from gm_jax.methods import METHODS

PAGES = sorted(path.stem for path in pages.own_pages())
# Their variants are KEY,KEY.
OF_TWO_TABLES = {"adaptive_density", "adversarial_autoencoder", "alpha_gan", "bigan", "flow"}
OF_TWO_TABLES |= {"flow_gan", "hybrid", "mixed_batch_gan", "vae"}
# {page: {variant: {field: value}}}. The first variant of a page is complete; the others list what
# differs from the variant "=", and under "-" the fields of that variant that they lack.
STORED = json.loads(Path(__file__).with_name("pages.json").read_text())
OWN_SPLITS = ("digits", "photos", "cifar10", "cifar10_small", "cifar10_printed", "gan", "av_ade+rd")


def has_batch_norms(page, variant):
    return page in ("classifier", "real_nvp") or "v_ade" in variant


def is_smaller(field, page, variant):
    """Whether it is a field of a network that has less to compile in the tests."""
    smoke = page in ("adaptive_density", "gan_likelihood") and variant.endswith("smoke")
    return smoke and field in stored(page, variant)


# Deliberate changes since then: the field, its value (None if it was removed), and where.
CHANGES = [
    ("optimizer.clip_norm", 0.0, lambda page, variant: page != "real_nvp"),
    ("optimizer.decay_steps", [], lambda page, variant: page != "classifier"),
    ("optimizer.decay_factor", 0.1, lambda page, variant: page != "classifier"),
    ("optimizer.name", "momentum", lambda page, variant: page == "classifier"),
    ("optimizer.learning_rate_decay", 1.0, lambda page, variant: page == "classifier"),
    ("optimizer.linear_decay_steps", 0, lambda page, variant: True),
    ("optimizer.linear_decay_start", 0, lambda page, variant: True),
    ("train.accumulate_steps", 1, lambda page, variant: True),
    ("train.rematerialize", False, lambda page, variant: True),
    ("optimizer.warmup_steps", 0, lambda page, variant: True),
    ("optimizer.cosine_decay_steps", 0, lambda page, variant: True),
    ("train.profile_steps", 0, lambda page, variant: True),
    ("train.wandb_project", "", lambda page, variant: True),
    (
        "model.ema_decay",
        0.0,
        lambda page, variant: page == "real_nvp" or "model.ema_decay" not in stored(page, variant),
    ),
    # The GAN's losses and the control of its critic's slope became fields of the page.
    *(
        (field, value, lambda page, variant: variant.startswith("gan"))
        for field, value in (
            ("model.adversarial_loss", "log_ratio"),
            ("model.lipschitz", "penalty"),
            ("model.weight_clip", 0.01),
            ("model.spectral_norm", "reshaped"),
        )
    ),
    *(
        (f"data.{use}_split", "", lambda page, variant: variant.split(",")[-1] in OWN_SPLITS)
        for use in ("train", "validation", "test")
    ),
    *(  # five minutes on a slow machine
        (field, value, lambda page, variant: (page, variant) == ("agave", "digits"))
        for field, value in (
            ("train.steps", 2_500),
            ("train.evaluate_every_steps", 2_500),
            ("optimizer.learning_rate_decay", 0.99959),
            ("model.kl_weight", 2.5),
        )
    ),
    ("data.test_split", "", lambda page, variant: "stl10" in variant),
    *(
        (f"data.{use}_split", f"{split} of digits", lambda page, variant: "smoke" in variant)
        for use, split in (
            ("train", "train[:64]"),
            ("validation", "validation[:24]"),
            ("test", "test[:24]"),
        )
    ),
    (
        "data.train_split",
        "train_augmented of digits",
        lambda page, variant: page in ("agave", "pixelcnn") and variant == "digits",
    ),
    *(
        (f"data.{use}_split", f"{split} of tfds:stl10", lambda page, variant: "stl10" in variant)
        for use, split in (("train", "unlabelled[:95%]"), ("validation", "unlabelled[95%:]"))
    ),
    ("evaluate.recalibration_batches", 64, lambda page, variant: has_batch_norms(page, variant)),
    (
        "evaluate.recalibration_batches",
        2,
        lambda page, variant: has_batch_norms(page, variant) and "smoke" in variant,
    ),
    *(
        (field, value, functools.partial(is_smaller, field))
        for field, value in (
            ("model.generator.widths", [8, 16]),
            ("model.discriminator.widths", [8, 16]),
            ("model.vae.widths", [8, 16]),
            ("model.encoder.widths", [8, 16]),
            ("model.real_nvp.num_blocks", 1),
            ("model.real_nvp.num_last", 2),
        )
    ),
    (
        "model.pixelcnn.num_scales",
        1,
        lambda page, variant: page in ("pixelcnn", "agave") and variant == "smoke",
    ),
    *(
        (field, None, lambda page, variant: variant.startswith("gan"))  # which read none of them
        for field in (
            "sample.from_mean",
            "evaluate.num_reconstructions",
            "evaluate.reconstruction_draws",
        )
    ),
]


def stored(page, variant):
    fields = dict(STORED[page][variant])
    if "=" in fields:
        base, gone = stored(page, fields.pop("=")), fields.pop("-", ())
        fields = {name: base[name] for name in base.keys() - set(gone)} | fields
    return fields


def flat(section, prefix=""):
    fields = {}
    for name, value in section.items():
        path = f"{prefix}{name}"
        fields |= flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return fields


def get_config(page):
    return importlib.import_module(f"configs.{page}").get_config


@pytest.mark.parametrize("page", STORED)
def test_every_variant_is_as_stored_but_for_what_was_changed_on_purpose(page):
    for variant in STORED[page]:
        expected = {"variant": variant} | stored(page, variant)
        for field, value, applies in CHANGES:
            if applies(page, variant):
                expected[field] = value
        expected = {field: value for field, value in expected.items() if value is not None}
        config = get_config(page)(variant)
        # As text: 1 is not 1.0, and a tuple is a list.
        assert json.dumps(flat(config.to_dict()), sort_keys=True) == json.dumps(
            expected, sort_keys=True
        )
        assert config.is_locked
    assert get_config(page)().variant == next(iter(STORED[page]))


def variants(page):
    """Every variant of a page of one table or two."""
    module = importlib.import_module(f"configs.{page}")
    if page in OF_TWO_TABLES:
        return [*map(",".join, itertools.product(module.MODELS, module.DATA))]
    return [*module.VARIANTS]


@pytest.mark.parametrize("page", PAGES)
def test_every_variant_is_locked_and_has_the_common_fields(page):
    for variant in STORED.get(page) or variants(page):
        config = get_config(page)(variant)
        train, section = config.train, config.data
        counts = (config.seed, section.batch_size, train.steps, train.checkpoint_every_steps)
        assert all(isinstance(field, int) for field in (*counts, train.evaluate_every_steps))
        assert isinstance(section.source, str) and config.method in METHODS
        with pytest.raises(AttributeError, match="typo"):
            config.train.typo = 1


@pytest.mark.parametrize("page", sorted({*PAGES} - OF_TWO_TABLES))
def test_an_unknown_variant_is_refused_with_the_known_ones(page):
    known = ", ".join(variants(page))
    with pytest.raises(ValueError, match=f"unknown variant 'cifar100'; choose among {known}$"):
        get_config(page)("cifar100")


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("ade", r"unknown model 'ade' in variant 'ade'; choose among gan, vae, v_ade"),
        ("av_ade+wd,digits", r"unknown refinement 'wd'.*choose among rd, wg, iaf, s2"),
        ("av_ade,cifar100", r"unknown data 'cifar100'.*cifar10, stl10"),
        ("av_ade,digits,rd", r"unknown data 'digits,rd'"),
        ("vae+s2", r"refinement 's2': the model 'vae' has no f_ψ"),
        ("av_gde+s2", r"refinement 's2': the model 'av_gde' has no f_ψ"),
        ("v_ade+rd", r"refinement 'rd': the model 'v_ade' has no discriminator"),
        ("av_ade+wg+wg", r"a refinement appears twice in variant 'av_ade\+wg\+wg'"),
        ("gan+iaf", r"refinement 'iaf': the model 'gan' has no posterior"),
    ],
)
def test_what_is_unknown_or_does_not_apply_is_refused(variant, expected):
    with pytest.raises(ValueError, match=expected):
        adaptive_density.get_config(variant)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("vae", "unknown model 'vae' in variant 'vae'; choose among alpha_gan, alpha_gan_kl, age"),
        ("age,mnist", "unknown data 'mnist' .*; choose among colored_digits, color_mnist"),
    ],
)
def test_an_unknown_model_or_data_set_of_alpha_gan_is_refused(variant, expected):
    with pytest.raises(ValueError, match=expected):
        alpha_gan.get_config(variant)


PUBLISHED = {"train": {"steps": 8}, "model": {"net": {"widths": (4, 7)}, "rate": 0.5}}


def small(variant, /, **tables):
    return common.page("m", variant, PUBLISHED, **tables)


def test_changes_apply_from_left_to_right_and_leave_the_published_setting_alone():
    models = {"a": {"model": {"rate": 1.0, "new": True}}, "b": {}}
    halved = common.scale(1 / 2, "model.*.widths", "*.rate")
    data = {"x": {}, "y": (halved, {"train": {"steps": 3}}), "z": (halved, halved)}
    config = small(
        "a+twice,y", model=models, data=data, refinements={"twice": common.scale(2, "model.rate")}
    )
    assert (config.model.rate, config.model.net.widths, config.train.steps) == (1.0, (2, 3), 3)
    assert config.model.new and (config.method, config.seed) == ("m", 0)
    assert small("b", model=models, data=data).model == small("b,x", model=models, data=data).model
    assert small("b,z", model=models, data=data).model.net.widths == (1, 1)
    assert PUBLISHED["model"] == {"net": {"widths": (4, 7)}, "rate": 0.5}


def test_a_change_adds_fields_to_the_model_alone():
    with pytest.raises(KeyError, match="step"):
        small("a", variant={"a": {"train": {"step": 3}}})
    with pytest.raises(KeyError, match="trian"):
        small("a", variant={"a": {"trian": {"steps": 3}}})


def test_fields_that_are_not_there_are_left_out_where_a_change_says_so():
    change = common.where_present({"train": {"steps": 1, "other": 2}, "sample": {"size": 3}})
    assert small("a", variant={"a": change}).train.to_dict() == {"steps": 1}


@pytest.mark.parametrize("page", PAGES)
def test_the_listing_has_a_line_for_every_variant(page):
    module = importlib.import_module(f"configs.{page}")
    listed = pages.listing([Path(f"configs/{page}.py")])
    assert listed.startswith(f"configs/{page}.py")
    tables = ("VARIANTS", "MODELS", "REFINEMENTS", "DATA")
    names = [name for table in tables for name in getattr(module, table, ())]
    assert len(names) > 1
    for name in names:
        assert re.search(rf"^    \+?(\w+, )*{name}\b", listed, re.MULTILINE)
