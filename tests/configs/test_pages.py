"""Every variant of every page is the config that it was when it was stored."""

import importlib
import json
from pathlib import Path

import pytest
from flax.traverse_util import flatten_dict

# {page: {variant: {field: value}}}. The first variant of a page is whole; another gives what
# differs from the variant "=", and under "-" the fields of that one which it lacks.
STORED = json.loads(Path(__file__).with_name("pages.json").read_text())
# What was changed on purpose since: {field: value}, of the pages after it.
CHANGES = [
    ({"optimizer.clip_norm": 0.0}, STORED.keys() - {"classifier", "real_nvp"}),
]


def stored(page, variant):
    fields = dict(STORED[page][variant])
    if "=" in fields:
        base = stored(page, fields.pop("="))
        gone = fields.pop("-", ())
        fields = {name: base[name] for name in base.keys() - set(gone)} | fields
    return fields


@pytest.mark.parametrize("page", STORED)
def test_every_variant_is_as_stored_but_for_what_was_changed_on_purpose(page):
    get_config = importlib.import_module(f"configs.{page}").get_config
    changes = {name: value for change, pages in CHANGES if page in pages
               for name, value in change.items()}  # fmt: skip
    for variant in STORED[page]:
        config = get_config(variant).to_dict()
        assert (config.pop("variant"), config["seed"]) == (variant, 0)
        given = json.loads(json.dumps(flatten_dict(config, sep=".")))
        expected = stored(page, variant) | changes
        assert {k: json.dumps(v) for k, v in given.items()} == {
            k: json.dumps(v) for k, v in expected.items()
        }
