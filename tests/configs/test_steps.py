"""The variants of the pages build a train step on the images that they are for."""

import importlib

import pytest

from configs import classifier, real_nvp
from tests.configs.building import create, step

LIKELIHOOD = {"loss", "bits_per_dim"}
# {page: (variants, terms)}. A step of agave:cifar10 takes half a minute to trace; its networks are
# built in `test_sizes.py`. The smoke variants of the halves are what `tests/methods` trains.
PAGES = {
    "agave": (("digits", "photos", "cifar10_small", "smoke"), LIKELIHOOD | {"kl"}),
    "classifier": (classifier.VARIANTS, {"loss", "cross_entropy", "regularization", "error"}),
    "pixelcnn": (("digits", "photos"), LIKELIHOOD),
    "real_nvp": (real_nvp.VARIANTS, LIKELIHOOD | {"prior", "log_det"}),
    "vae_iaf": (("digits", "photos"), LIKELIHOOD),
}


@pytest.mark.parametrize(
    ("page", "variant"), [(page, name) for page, (names, _) in PAGES.items() for name in names]
)
def test_a_step_of_every_variant_builds(page, variant):
    config = importlib.import_module(f"configs.{page}").get_config(variant)
    _, terms = step(create(config), config)
    assert PAGES[page][1] <= terms.keys()
