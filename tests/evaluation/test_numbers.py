"""The commands of numbers on record ask for what was computed."""

import shlex

import pytest

from gm_jax.evaluation import numbers
from gm_jax.evaluation.battery import check
from gm_jax.evaluation.feature_networks import FeatureNetwork
from gm_jax.evaluation.metrics import METRICS
from gm_jax.evaluation.request import Request


def flags_of(metric, identity):
    given = shlex.split(numbers._flags(metric, identity))
    return dict(flag.removeprefix("--").split("=", 1) for flag in given)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("suffix", ["", "c", "pixels", "unpublished_inception", "my_net"])
def test_a_metric_named_after_a_network_is_asked_for_by_its_own_name(metric, suffix):
    network = FeatureNetwork(suffix, {}, lambda images: {})
    asked = flags_of(network.metric_name(metric), {})["metrics"]
    assert asked == metric
    check(Request((asked,)))


def test_the_settings_of_a_number_are_in_its_command():
    identity = {
        "features": {"name": "exported:net", "resize": "clean"},
        "samples": {"num_images": 500},
        "num_importance_samples": 5,
        "training_steps": 70,
        "seed": 3,
    }
    flags = flags_of("fd_my_net", identity)
    assert flags["features"] == "exported:FILE" and flags["resize"] == "clean"
    assert (flags["num_samples"], flags["num_importance_samples"]) == ("500", "5")
    assert (flags["training_steps"], flags["seed"]) == ("70", "3")
