"""The two programs by which images are coded: one chooses latents of images, one images.

Both sides of a file run the same compiled programs. Whatever a program decides it asks of `choose`,
a call of the host from inside the program: the encoder answers with what is given, and keeps the
masses; the decoder answers with what it pops off its stack.
"""

import importlib.metadata
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from gm_jax import cpu
from gm_jax.borders import described
from gm_jax.coding.container import fingerprint_of
from gm_jax.coding.stack import Stack
from gm_jax.evaluation.feature_networks import hash_of_variables
from gm_jax.methods.method import Method, matmul
from gm_jax.training import workdir as workdirs

Array = jax.Array
Tree = Any
# `Choose` on the host.
Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Eigen's sums depend on its number of threads, and so would a file.
_ONE_THREAD = {"xla_cpu_multi_thread_eigen": False}
_PACKAGES = ("jax", "jaxlib", "constriction")
# Sets of instructions, among what Linux says of a processor.
_INSTRUCTIONS = re.compile("sse|ssse|avx|fma|f16c|bmi|amx|adx|abm|popcnt|asimd|sve|neon|fp")
# Flags of XLA that change no number on a CPU.
_HARMLESS = ("--xla_force_host_platform_device_count", "--xla_gpu", "--xla_tpu", "--xla_dump")


class Programs:
    """A method's programs at one batch size, on one CPU device whatever devices there are.

    Attributes:
      batch_size: B.
      fingerprint: {name: hash} of what both sides of a file must have in common.
      num_latents: latents of a batch that are taken off the stack, and put back.
      no_latents: a tree of zeros in the shapes of a batch's latents.

    Args:
      method: one whose `why_not_coded` is "".
      variables: from `state.evaluation_variables`.
      batch_size: B.
    """

    def __init__(self, method: Method, variables: Tree, batch_size: int):
        self._method, self.batch_size = method, batch_size
        self._device = _cpu()
        self._variables = jax.device_put(jax.device_get(variables), self._device)
        self._precision = matmul(method.config)[1]
        self._answer: Answer | None = None
        self._failure: Exception | None = None
        self.num_latents, shapes = shapes_of_latents(method, self._variables, batch_size)
        self.no_latents = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        lowered = [self._lower(function) for function in (self._infer, self._generate)]
        self._infer_program, self._generate_program = (each.compile() for each in lowered)
        program = fingerprint_of({"program": "".join(each.as_text() for each in lowered)})
        self.fingerprint = known_fingerprint(method, variables) | program

    def infer(self, images: np.ndarray, latents: Tree, answer: Answer) -> Tree:
        """The latents of images uint8 [B, H, W, C] that an answer chooses, int32 [B, ...]."""
        return self._run(self._infer_program, images, latents, answer)

    def generate(self, latents: Tree, images: np.ndarray, answer: Answer) -> tuple[Tree, Any]:
        """The latents and the images uint8 [B, H, W, C] that an answer chooses.

        Args:
          latents: of a batch; what the program gives to `answer`.
          images: the same.
          answer: chooses latents and then pixels.
        """
        return self._run(self._generate_program, images, latents, answer)

    def _infer(self, variables: Tree, images: Array, latents: Tree) -> Tree:
        return self._method.code_latents(variables, images, latents, self._choose)

    def _generate(self, variables: Tree, images: Array, latents: Tree) -> tuple[Tree, Array]:
        return self._method.code_image(variables, latents, images, self._choose)

    def _lower(self, function: Callable[..., Any]) -> jax.stages.Lowered:
        images = np.zeros((self.batch_size, *self._method.image_shape), np.uint8)
        options = _ONE_THREAD | cpu.known_options(cpu.FAST_COMPILE)
        # Constants, too, belong to this device, whatever the default one is.
        with jax.default_device(self._device), jax.default_matmul_precision(self._precision):
            compiled = jax.jit(function, compiler_options=options)
            return compiled.lower(self._variables, images, self.no_latents)

    def _choose(self, masses: Array, given: Array) -> Array:
        shape = jax.ShapeDtypeStruct(masses.shape[:-1], jnp.int32)
        # Calls that do not depend on each other could come in another order to the decoder.
        return io_callback(self._ask, shape, masses, given.astype(jnp.int32), ordered=True)

    def _ask(self, masses: Array, told: Array) -> np.ndarray:
        """Called by a running program, which cannot be ended by an error: it is kept."""
        given = np.asarray(told)
        if self._failure is not None or self._answer is None:
            return given
        try:
            return self._answer(np.asarray(masses), given)
        except Exception as error:
            self._failure = error
            return given

    def _run(self, program: Any, images: np.ndarray, latents: Tree, answer: Answer) -> Any:
        self._answer, self._failure = answer, None
        arguments = jax.device_put((images, latents), self._device)
        result = jax.device_get(program(self._variables, *arguments))
        self._answer = None
        if self._failure is not None:
            raise ValueError(
                f"the entropy coder refuses the model's masses ({described(self._failure)}): they "
                "are not finite, or this is not the model that wrote the file"
            ) from self._failure
        return result


class Given:
    """Answers with what is given, and keeps it with its masses.

    Args:
      count: examples of the batch that count; the others are padding.
    """

    def __init__(self, count: int):
        self._count = count
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, masses: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Returns `given`."""
        # The program will write over its masses.
        kept = np.array(masses[: self._count]).reshape(-1, masses.shape[-1])
        self._kept.append((np.array(given[: self._count]).ravel(), kept))
        return given

    def push(self, stack: Stack) -> None:
        """Pushes all that was given, so that `Popped` returns it in order."""
        for symbols, masses in reversed(self._kept):
            stack.push(symbols, masses)


class Popped:
    """Answers with what it pops off a stack; padding repeats the last example that counts."""

    def __init__(self, stack: Stack, count: int):
        self._stack, self._count = stack, count

    def __call__(self, masses: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Returns int32 in the shape of `given`."""
        rows = masses[: self._count].reshape(-1, masses.shape[-1])
        popped = self._stack.pop(rows).reshape(self._count, *given.shape[1:])
        return popped[np.minimum(np.arange(len(given)), self._count - 1)]


def shapes_of_latents(method: Method, variables: Tree, batch_size: int) -> tuple[int, Tree]:
    """How many latents of a batch come off the stack, and the shapes of all."""
    sizes = []

    def choose(masses: Array, given: Array) -> Array:
        sizes.append(masses[..., 0].size)
        return jnp.zeros(masses.shape[:-1], jnp.int32)

    def infer(variables: Tree, images: Array) -> Tree:
        return method.code_latents(variables, images, None, choose)

    images = jax.ShapeDtypeStruct((batch_size, *method.image_shape), jnp.uint8)
    shapes = jax.eval_shape(infer, variables, images)
    return sum(sizes), shapes


def known_fingerprint(method: Method, variables: Tree) -> dict[str, bytes]:
    """{name: hash} of what can be compared before anything is compiled."""
    config = [method.config.method, method.config.model.to_dict()]
    return fingerprint_of(
        {
            "parameters": hash_of_variables(variables),
            "config": workdirs.dumps(config, sort_keys=True),
            "software": " ".join(map(importlib.metadata.version, _PACKAGES)),
            "processor": _processor(),
            "compiler flags": _compiler_flags(),
        }
    )


def _cpu() -> jax.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise ValueError(
            f"images are coded on a CPU ({described(error)}): name it too, JAX_PLATFORMS=cuda,cpu"
        ) from error


def _processor() -> str:
    """What decides which instructions a program is compiled to."""
    about = Path("/proc/cpuinfo")
    text = about.read_text().partition("\n\n")[0] if about.exists() else ""
    told: dict[str, str] = dict(re.findall(r"^(.+?)\s*:\s*(.*)$", text, re.MULTILINE))
    # Linux also lists what it does against attacks, which changes with its version.
    features = filter(_INSTRUCTIONS.match, told.get("flags", told.get("Features", "")).split())
    names = (told.get(key, "") for key in ("model name", "CPU implementer", "CPU part"))
    return " ".join([platform.machine(), *names, *sorted(features)])


def _compiler_flags() -> str:
    flags = os.environ.get("XLA_FLAGS", "").split()
    return " ".join(sorted(flag for flag in flags if not flag.startswith(_HARMLESS)))
