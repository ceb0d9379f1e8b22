"""A feature network in one file: its program, with its weights and its preprocessing, as StableHLO.

A table of weights alone (safetensors) leaves the architecture open, and most exported graphs leave
open which range of pixels they expect. A program of uint8 images leaves nothing open.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from gm_jax.borders import reading

_PLATFORMS = ("cpu", "cuda", "tpu")


def write_exported(
    function: Callable[[jax.Array], Any],
    image_shape: tuple[int, int, int],
    path: epath.PathLike,
) -> None:
    """Exports a feature network for CPU, CUDA and TPU, for `--features=exported:FILE`.

    Args:
      function: traceable, with its weights inside: uint8 [B, H, W, C] in 0..255 -> [B, d], or
        {'features': [B, d], 'logits': [B, classes]}; whatever resize and scale it needs is its own.
        B is a symbol, which reshape takes as -1.
      image_shape: (H, W, C).
      path: the file, whose name without ending becomes that of the metrics, such as fd_NAME.
    """
    (batch,) = jax.export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((batch, *image_shape), jnp.uint8)
    exported = jax.export.export(jax.jit(function), platforms=_PLATFORMS)(images)
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(exported.serialize())


def read_exported(
    path: epath.PathLike, image_shape: tuple[int, ...] | None
) -> tuple[Callable[[np.ndarray], dict[str, np.ndarray]], dict[str, Any]]:
    """Reads what `write_exported`, or `jax.export` itself, wrote.

    Args:
      path: the file.
      image_shape: (H, W, C) of the images to judge.

    Returns:
      uint8 [B, H, W, C] -> {'features': [B, d]} and, if it classifies, 'logits', float32; and the
      network's identity.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, or its program takes or gives something else.
    """
    path = epath.Path(path)
    content = path.read_bytes()
    with reading(f"{path}", "give a file that gm_jax.evaluation.write_exported wrote"):
        exported = jax.export.deserialize(bytearray(content))
    taken = [(each.dtype, each.shape) for each in exported.in_avals]
    if len(taken) != 1 or taken[0][0] != np.uint8 or taken[0][1][1:] != image_shape:
        raise ValueError(f"{path} takes {exported.in_avals}, not uint8 images of {image_shape}")
    if isinstance(taken[0][1][0], int):
        raise ValueError(f"{path} takes {taken[0][1][0]} images at once: export it for any number")
    program = jax.jit(exported.call)

    def extract(images: np.ndarray) -> dict[str, np.ndarray]:
        found = program(images)
        found = found if isinstance(found, dict) else {"features": found}
        return {name: np.asarray(array, np.float32) for name, array in found.items()}

    given = jax.eval_shape(exported.call, jax.ShapeDtypeStruct((1, *taken[0][1][1:]), jnp.uint8))
    given = given if isinstance(given, dict) else {"features": given}
    if "features" not in given or any(each.ndim != 2 for each in given.values()):
        raise ValueError(f"{path} gives {given}, not features [B, d]")
    name = f"exported:{path.stem}"
    return extract, {"name": name, "sha256": hashlib.sha256(content).hexdigest()[:16]}
