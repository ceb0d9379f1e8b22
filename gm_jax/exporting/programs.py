"""A model's functions as StableHLO, which run without gm_jax, on CPUs, NVIDIA's GPUs and TPUs.

Each is called as (parameters, batch, seed), where `parameters` is what safetensors' `load_file`
returns. With the same seed it gives what the functions of `gm_jax.load` give.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export

from gm_jax.borders import described
from gm_jax.data.fields import main_field
from gm_jax.evaluation.latents import latent_key
from gm_jax.evaluation.likelihood import draw_key
from gm_jax.exporting import weights
from gm_jax.methods.method import matmul
from gm_jax.nn.noise import Noise
from gm_jax.training.run import Run

Tree = Any
PLATFORMS = ("cpu", "cuda", "tpu")
NAMES = ("sample", "log_likelihood", "encode", "decode")
# Where the batch size cannot be left open.
_FIXED = 16


class Program(NamedTuple):
    """A function that is exported.

    Attributes:
      serialized: what `jax.export.deserialize` reads.
      batch: {argument: its dtype and shape as text}.
      size: the batch size, or None for any.
      why: why the size is fixed; "" if it is not.
    """

    serialized: bytes
    batch: dict[str, str]
    size: int | None
    why: str


def build(run: Run, variables: Tree, names: Sequence[str] = NAMES) -> dict[str, Program]:
    """{name: program} for those of the names that the run's method offers."""
    offered = [name for name in names if name in run.method.capabilities]
    return {name: _build(run, variables, name) for name in offered}


def _build(run: Run, variables: Tree, name: str) -> Program:
    """Exports a function for any batch size or, if it needs to know it, for a fixed one."""
    (any_size,) = export.symbolic_shape("b")
    why = ""
    try:
        size: Any = any_size
        exported, batch = _exported(run, variables, name, size)
    except Exception as error:  # whatever an operation raises that needs the number itself
        size, why = _FIXED, described(error)
        exported, batch = _exported(run, variables, name, size)
    shown = {
        jax.tree_util.keystr(place, simple=True, separator="/"): str(leaf)
        for place, leaf in jax.tree_util.tree_leaves_with_path(
            jax.tree.map(lambda leaf: f"{leaf.dtype} {list(leaf.shape)}", batch)
        )
    }
    return Program(bytes(exported.serialize()), shown, None if not why else size, why)


def _exported(run: Run, variables: Tree, name: str, size: Any) -> tuple[export.Exported, Tree]:
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), variables)
    batch = _arguments(run, shapes, name, size)
    function = _FUNCTIONS[name](run)

    def call(parameters: dict[str, jax.Array], batch: Tree, seed: jax.Array) -> Tree:
        with jax.default_matmul_precision(matmul(run.config)[1]):
            return function(weights.unflatten(parameters, shapes), batch, seed)

    seed = jax.ShapeDtypeStruct((), jnp.uint32)
    exported = export.export(jax.jit(call), platforms=PLATFORMS)
    return exported(weights.flatten(shapes), batch, seed), batch


def _arguments(run: Run, shapes: Tree, name: str, size: Any) -> dict[str, Tree]:
    """The batch that a function takes, as shapes: what it is a function of, `index`, `label`."""
    method, spec = run.method, run.train_data.fields
    numbers = jax.ShapeDtypeStruct((size,), jnp.int32)
    batch: dict[str, Tree] = {"index": numbers}
    if method.class_conditional:
        batch["label"] = numbers
    if name in ("log_likelihood", "encode"):
        main = main_field(spec)
        batch[main] = jax.ShapeDtypeStruct((size, *spec[main].shape), spec[main].dtype)
    if name == "decode":
        seed = jax.ShapeDtypeStruct((), jnp.uint32)
        examples = _arguments(run, shapes, "encode", size)
        batch["latents"] = jax.eval_shape(_encode(run), shapes, examples, seed)
    return batch


Function = Callable[[Tree, dict[str, Any], jax.Array], Tree]


def _sample(run: Run) -> Function:
    key, temperature = run.keys["sample"], run.config.sample.temperature

    def sample(variables: Tree, batch: dict[str, Any], seed: jax.Array) -> Tree:
        noise = Noise(jax.random.fold_in(key, seed), batch["index"])
        return run.method.draw(variables, noise, batch.get("label"), temperature)

    return sample


def _log_likelihood(run: Run) -> Function:
    key, method = run.keys["evaluate"], run.method
    return lambda variables, batch, seed: method.log_likelihood(
        variables, batch, Noise(draw_key(key, seed), batch["index"])
    )


def _encode(run: Run) -> Function:
    key, method = run.keys["reconstruct"], run.method
    return lambda variables, batch, seed: method.encode(
        variables, batch, Noise(latent_key(key, seed, 0), batch["index"])
    )


def _decode(run: Run) -> Function:
    key, method = run.keys["reconstruct"], run.method

    def decode(variables: Tree, batch: dict[str, Any], seed: jax.Array) -> Tree:
        noise = Noise(latent_key(key, seed, 1), batch["index"])
        return method.decode(variables, batch["latents"], noise, batch.get("label"))

    return decode


_FUNCTIONS: dict[str, Callable[[Run], Function]] = {
    "sample": _sample,
    "log_likelihood": _log_likelihood,
    "encode": _encode,
    "decode": _decode,
}
