"""Starts a run from the parameters of another."""

from typing import Any

import jax
import jax.numpy as jnp

from gm_jax.data.fields import Field
from gm_jax.methods.method import Method

Tree = Any


def fit_params(
    source: str, name: str, ours: tuple[Any, dict[str, Tree]], theirs: tuple[Any, dict[str, Tree]]
) -> Tree:
    """Returns the parameters of another run's network, fitted to ours.

    The network must be the same function of the same kind of data: a method stores a network's
    module under its name, and the module lists the fields that do not matter (`free_fields`). A
    parameter that all channels share there, of shape [1], is copied to each of our channels.

    Args:
      source: the other run, for messages.
      name: the network's name.
      ours: our method, and {network: parameters} or their shapes.
      theirs: the other method, and its variables (from `state.evaluation_variables`).

    Raises:
      ValueError: something differs; the message names it, with both values.
    """
    (our_method, our_params), (their_method, variables) = ours, theirs
    for names, networks in (("this run's", our_params), ("that run's", variables)):
        if name not in networks:
            raise ValueError(
                f"{source}: {names} networks are {', '.join(networks)}, without '{name}'; give a "
                "run that trained it"
            )
    fields = _fields(our_method, name), _fields(their_method, name)
    different = [
        f"{field} is {fields[1].get(field, 'absent')} in that run, {value} in this one"
        for field, value in fields[0].items()
        if not _equal(fields[1].get(field), value)
    ]
    different = different or _different(our_params[name], variables[name]["params"])
    if different:
        raise ValueError(
            f"{source}: {'; '.join(different[:3])}. Give a run of the same images and network, or "
            "change the config to its values"
        )
    return jax.tree.map(
        lambda leaf, given: jnp.broadcast_to(given, leaf.shape),
        our_params[name],
        variables[name]["params"],
    )


def _fields(method: Method, name: str) -> dict[str, Any]:
    """The fields on which the meaning of a network's weights depends: its own and the data's."""
    network = method.modules[name]
    free = {"parent", "name", *network.free_fields}
    fields = {
        f"{name}.{field}": getattr(network, field)
        for field in network.__dataclass_fields__
        if field not in free
    }
    by_class = fields.get(f"{name}.num_classes") is not None  # then the classes' order matters
    data = {
        field: what for field, what in method.data.items() if what.num_classes is None or by_class
    }
    return {**data, **fields}


def _equal(theirs: Any, ours: Any) -> bool:
    return ours.equals(theirs) if isinstance(ours, Field) else ours == theirs


def _different(ours: Tree, theirs: Tree) -> list[str]:
    """Parameters that are missing, superfluous, or of a shape that does not broadcast from [1]."""
    shapes = [
        {
            jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }
        for tree in (ours, theirs)
    ]
    return [
        f"{path} is {shapes[1].get(path, 'absent')} in that run, "
        f"{shapes[0].get(path, 'absent')} in this one"
        for path in sorted(shapes[0] | shapes[1])
        if shapes[0].get(path) != shapes[1].get(path)
        and not (len(shapes[0].get(path, ())) == 1 and shapes[1].get(path) == (1,))
    ]
