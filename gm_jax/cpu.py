"""Speed-ups for CPUs: the heap, compiler options, flat draws. They change no result."""

import contextlib
import ctypes
import functools
import math
import platform
from collections.abc import Callable, Mapping
from typing import Any

import jax

# It compiles faster and also makes the train steps of `agave` and `adaptive_density` 5 to 10 %
# faster. pmap does not accept it.
FAST_COMPILE = {"xla_cpu_opt_preset": "CPU_OPT_PRESET_FAST_COMPILE"}
# For a program that is called once: optimizing it takes ten times as long.
NO_OPTIMIZATION = {"xla_backend_optimization_level": 0}
# JAX 0.12.0 reuses buffers by itself: there `keep_buffers` saved neither page faults nor time.
_REUSES_BUFFERS = jax.__version_info__ >= (0, 12)


def known_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the compiler options that this jaxlib knows; they differ between XLA versions."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: Any) -> bool:
    """Tries the option on a tiny program, since XLA cannot list its options."""
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

    If each execution maps its buffers anew, the kernel has to clear their pages, which takes a
    quarter of a step of `configs/agave.py` on two cores. With glibc, the buffers come from a heap
    of up to 4 GiB instead, which the process keeps until it ends.

    Call it before JAX initialises its devices; later it has little effect. It does nothing for
    newer versions of JAX, which reuse buffers by themselves.
    """
    if _REUSES_BUFFERS:
        return
    # This makes programs run, and allocate, on the main thread: other threads have small heaps.
    with contextlib.suppress(AttributeError):  # this JAX lacks the setting
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    if platform.libc_ver()[0] == "glibc":
        _reserve_heap(2**32)


def _reserve_heap(num_bytes: int) -> None:
    """Grows the main heap permanently; its pages are allocated as they are used."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # as in malloc.h
    never = -1
    library.mallopt(M_TRIM_THRESHOLD, never)
    library.mallopt(M_MMAP_MAX, 0)
    library.free(library.malloc(num_bytes))  # if it is refused, nothing is freed
    library.mallopt(M_MMAP_MAX, 65_536)  # its default
    # The largest value that glibc adapts it to; the calls above stop glibc from adapting it.
    library.mallopt(M_MMAP_THRESHOLD, 2**25)


def draw_flat(
    sampler: Callable[..., jax.Array], key: jax.Array, shape: tuple[int, ...], **options: Any
) -> jax.Array:
    """Returns `sampler(key, shape, **options)`, bit for bit, but draws it as a vector.

    XLA's CPU compiler takes ten times as long for a draw in several dimensions (jaxlib 0.10.2), and
    the program is slower.
    """
    return sampler(key, (math.prod(shape),), **options).reshape(shape)
