"""What only makes CPUs fast: the heap, compiler options, flat draws. No result depends on it."""

import contextlib
import ctypes
import functools
import math
import platform
from collections.abc import Callable, Mapping
from typing import Any

import jax

# Besides compiling faster, it makes the train steps of `agave` and `adaptive_density` 5 to 10 %
# faster. pmap does not take it.
FAST_COMPILE = {"xla_cpu_opt_preset": "CPU_OPT_PRESET_FAST_COMPILE"}
# For a program that is called once: to optimize it takes ten times as long.
NO_OPTIMIZATION = {"xla_backend_optimization_level": 0}
# Jax 0.12.0 reuses buffers by itself: `keep_buffers` saved no page fault and no time there.
_REUSES_BUFFERS = jax.__version_info__ >= (0, 12)


def known_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those of some compiler options that this jaxlib knows: XLA's differ by version."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: Any) -> bool:
    """Tries the option on a tiny program, as XLA has no list of its options."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        lowered = jax.jit(lambda: 0, compiler_options={name: value}).lower()
        try:
            lowered.compile()
        except jax.errors.JaxRuntimeError:  # no such option, or no such value
            return False
    return True


@functools.cache
def keep_buffers() -> None:
    """Lets programs on one CPU device reuse the memory of their buffers.

    Where each execution maps its buffers anew, the kernel has to clear their pages: a quarter of
    the time of a step of `configs/agave.py` on two cores. With glibc they are taken from a heap
    instead, up to 4 GiB, which is not given back before the process ends.

    Call it before JAX has devices; after that it has little effect. A newer jax that does the same
    by itself is left as it is.
    """
    if _REUSES_BUFFERS:
        return
    # Programs then run, and allocate, on the main thread: the heaps of others are small.
    with contextlib.suppress(AttributeError):  # a jax without this setting
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    if platform.libc_ver()[0] == "glibc":
        _reserve_heap(2**32)


def _reserve_heap(num_bytes: int) -> None:
    """Grows the main heap for good; its pages are taken as they are used."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # as in malloc.h
    never = -1
    library.mallopt(M_TRIM_THRESHOLD, never)
    library.mallopt(M_MMAP_MAX, 0)
    library.free(library.malloc(num_bytes))  # where it is refused, nothing is freed
    library.mallopt(M_MMAP_MAX, 65_536)  # its default
    # The largest that glibc itself adapts it to, which it no longer does after the calls above.
    library.mallopt(M_MMAP_THRESHOLD, 2**25)


def draw_flat(
    sampler: Callable[..., jax.Array], key: jax.Array, shape: tuple[int, ...], **options: Any
) -> jax.Array:
    """Draws noise of a shape by way of a vector: `sampler(key, shape, **options)`, bit for bit.

    XLA's compiler for CPUs takes ten times as long over a draw in several dimensions (jaxlib
    0.10.2), and the program is slower.
    """
    return sampler(key, (math.prod(shape),), **options).reshape(shape)
