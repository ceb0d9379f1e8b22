"""Meaningless numbers are refused, by one table that knows every field of every page."""

import fnmatch
import importlib
from pathlib import Path

import pytest

from configs import alpha_gan, flow, mixed_batch_gan, vae_iaf
from docs import make_fields
from gm_jax import pages, ranges
from gm_jax.training.run import open_run

PAGES = sorted(path.stem for path in pages.own_pages())
CONFIGS = {page: importlib.import_module(f"configs.{page}").get_config() for page in PAGES}
# And those with fields that a page's first variant lacks.
CONFIGS |= {f"alpha_gan:{model}": alpha_gan.get_config(model) for model in alpha_gan.MODELS}
CONFIGS |= {"mixed_batch_gan:mixup": mixed_batch_gan.get_config("mixup")}
FLOWS = ("nice", "residual", "flow_plus_plus")
CONFIGS |= {f"flow:{model}": flow.get_config(model) for model in FLOWS}


def numbers(value):
    if isinstance(value, tuple):
        return any(map(numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


@pytest.mark.parametrize("page", CONFIGS)
def test_the_table_knows_every_number_of_a_page_and_takes_it(page):
    config = CONFIGS[page]
    ranges.check(config)
    found = [name for name, value in ranges.fields_of(config) if numbers(value)]
    unknown = [name for name in found if ranges.entry(name) is None]
    assert not unknown, "add rows to TABLE of gm_jax/ranges.py; run python docs/make_fields.py"


def test_no_row_of_the_table_is_in_vain():
    names = {name for config in CONFIGS.values() for name, _ in ranges.fields_of(config)}
    for pattern, _, _ in ranges.TABLE:
        assert any(fnmatch.fnmatchcase(name, pattern) for name in names), pattern


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("seed", 2**32, "give a whole number from 0 to 4,294,967,295"),
        ("seed", -1, "seed is -1"),
        ("seed", 10**400, "to 4,294,967,295"),
        ("optimizer.learning_rate", 0.0, "give a finite number above 0"),
        ("optimizer.learning_rate", float("nan"), "learning_rate is nan"),
        ("optimizer.beta2", 1.0, "give a finite number from 0 below 1"),
        ("sample.temperature", float("inf"), "temperature is inf"),
        ("sample.temperature", -0.5, "temperature is -0.5; give a finite number from 0 on"),
        ("model.matmul_dtype", "float8", "is 'float8'; give one of float32, tf32, bfloat16"),
        ("model.vae.features", 0, "model.vae.features is 0; give a whole number from 1 on"),
        ("model.vae.num_blocks", 0, "num_blocks is 0"),
        ("train.log_every_steps", 0, "log_every_steps is 0"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_built(tmp_path, field, value, expected):
    config = vae_iaf.get_config("smoke").unlock()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=f"^{field} is .*") as error:
        open_run(config.lock(), tmp_path / "run")
    assert expected in str(error.value)


def test_every_element_of_a_tuple_is_judged():
    with pytest.raises(ValueError, match=r"model.widths is \(8, 0\); give"):
        ranges.check({"model": {"widths": (8, 0)}})


def test_a_number_of_ones_own_page_has_to_be_finite():
    ranges.check({"model": {"mine": -3.5, "name": "any"}})
    with pytest.raises(ValueError, match=r"model.mine is inf; give a finite number"):
        ranges.check({"model": {"mine": float("inf")}})


def test_the_page_of_fields_is_the_table():
    page = Path(make_fields.__file__).with_name("fields.md")
    assert page.read_text(encoding="utf-8") == make_fields.make()
