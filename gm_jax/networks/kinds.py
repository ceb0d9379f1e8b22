"""Networks whose class a config chooses by its `kind`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import flax.linen as nn

Network = TypeVar("Network", bound=nn.Module)


def create(name: str, config: Any, kinds: Mapping[str, type[Network]], **shared: Any) -> Network:
    """Builds a network from a config's `kind` and its other fields, which are attributes.

    Args:
      name: of the config's section of `model`, for messages.
      config: the section.
      kinds: {kind: class}.
      shared: attributes that do not come from the config.

    Raises:
      ValueError: there is no such kind, or the other fields are those of another one.
    """
    if config.kind not in kinds:
        raise ValueError(f"model.{name}.kind is '{config.kind}'; choose among {', '.join(kinds)}")
    network = kinds[config.kind]
    given = {field: value for field, value in config.items() if field != "kind"}
    own = [field for field in dataclasses.fields(network) if field.name not in ("parent", "name")]
    free = {field.name for field in own} - shared.keys()
    needed = {field.name for field in own if field.default is dataclasses.MISSING} & free
    if not needed <= given.keys() <= free:
        raise ValueError(
            f"model.{name}.kind is '{config.kind}', which takes {', '.join(sorted(free))}, but the "
            f"section has {', '.join(sorted(given))}: take a variant whose {name} is of this kind"
        )
    return network(**given, **shared)
