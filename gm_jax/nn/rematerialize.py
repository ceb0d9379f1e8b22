"""Blocks of networks whose activations are computed anew in the backward pass, to save memory."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import flax.linen as nn
import jax

Method = TypeVar("Method", bound=Callable[..., Any])
_active = contextvars.ContextVar("rematerialize", default=False)
_met: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("met", default=None)


@contextlib.contextmanager
def rematerialize(active: bool) -> Iterator[None]:
    """If it is active, blocks of networks that are traced inside it keep only their inputs."""
    token = _active.set(active)
    try:
        yield
    finally:
        _active.reset(token)


@contextlib.contextmanager
def recorded() -> Iterator[list[str]]:
    """Collects the classes of the blocks that are traced inside it to be computed anew."""
    met: list[str] = []
    token = _met.set(met)
    try:
        yield met
    finally:
        _met.reset(token)


def block(method: Method) -> Method:
    """Decorates a module's method that is a block of its network, outside `nn.compact`.

    Arguments that are no arrays are fixed when it is traced.
    """

    @functools.wraps(method)
    def call(self: nn.Module, *arguments: Any, **named: Any) -> Any:
        if not _active.get() or self.is_initializing():
            return method(self, *arguments, **named)
        if (met := _met.get()) is not None:
            met.append(type(self).__name__)
        leaves, structure = jax.tree.flatten((arguments, named))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]

        @functools.wraps(method)
        def on_arrays(self: nn.Module, *arrays: jax.Array) -> Any:
            whole = list(leaves)
            for place, array in zip(places, arrays, strict=True):
                whole[place] = array
            positional, by_name = jax.tree.unflatten(structure, whole)
            return method(self, *positional, **by_name)

        return nn.remat(on_arrays)(self, *(leaves[place] for place in places))

    return cast(Method, call)
