"""Every method keeps to the contract, so that the rest of the project can do without its name."""

import inspect

import pytest

from gm_jax.methods import METHODS
from gm_jax.methods.contract import Method

FUNCTIONS = [name for name, value in vars(Method).items() if inspect.isfunction(value)]
FUNCTIONS = [name for name in FUNCTIONS if name == "__init__" or not name.startswith("_")]
MORE = {"__init__": {"frozen"}, "init": {"pretrained"}, "decode": {"labels"}}


@pytest.mark.parametrize("name", METHODS)
def test_functions_take_what_the_contract_says(name):
    for function in FUNCTIONS:
        ours = getattr(METHODS[name], function, None)
        if ours is None:
            assert function not in ("__init__", "init", "train_step")
            continue
        asked = list(inspect.signature(getattr(Method, function)).parameters)
        taken = list(inspect.signature(ours).parameters)
        assert taken[: len(asked)] == asked, (name, function)
        assert set(taken) - set(asked) <= MORE.get(function, set()), (name, function)


@pytest.mark.parametrize("name", METHODS)
def test_a_likelihood_says_whether_it_is_exact_and_any_other_method_how_it_is_judged(name):
    method = METHODS[name]
    if hasattr(method, "log_likelihood"):
        assert isinstance(method.likelihood_is_exact, bool)
    else:
        assert not hasattr(method, "score") or hasattr(method, "validation_score")
