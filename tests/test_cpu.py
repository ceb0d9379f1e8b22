"""The speed-ups for CPUs change no result, and are used wherever they can be."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import cpu
from gm_jax.training.parallel import Parallel

ROOT = Path(__file__).resolve().parents[1]
KEY = jax.random.key(3)

PAGE_FAULTS = """
import resource
import jax, jax.numpy as jnp
from gm_jax.cpu import keep_buffers

if {keep}:
    keep_buffers()
square = jax.jit(lambda x: jnp.sum(jnp.sin(x @ x.T)))  # by way of 64 MiB
x = jnp.ones((4096, 2))
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        square(x).block_until_ready()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
def test_programs_reuse_the_memory_of_their_buffers():
    def page_faults(keep):
        command = [sys.executable, "-c", PAGE_FAULTS.format(keep=keep)]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        return int(subprocess.check_output(command, env=environment, cwd=ROOT, timeout=120))

    kept, without = page_faults(True), page_faults(False)
    if without < 2**14:  # fewer than the pages of one buffer, for five executions
        assert kept < 2**14
        pytest.skip(f"only {without} page faults without it: jax reuses buffers by itself")
    assert kept < without / 5


def test_only_compiler_options_that_this_jaxlib_knows_are_asked_for(monkeypatch):
    unknown = {"xla_cpu_no_such_option": True, "xla_cpu_opt_preset": "NO_SUCH_PRESET"}
    assert cpu.known_options({**unknown, **cpu.NO_OPTIMIZATION}) == cpu.NO_OPTIMIZATION
    monkeypatch.setattr(cpu, "FAST_COMPILE", unknown)
    monkeypatch.setattr(cpu, "NO_OPTIMIZATION", unknown)
    double = Parallel("jit").compile_once(lambda x: 2 * x)
    assert double(3) == 6


def test_a_jax_without_the_setting_of_dispatch_keeps_buffers_too(monkeypatch):
    asked, update = [], jax.config.update
    monkeypatch.setattr(cpu, "_REUSES_BUFFERS", False)
    monkeypatch.setattr(cpu, "_reserve_heap", asked.append)
    monkeypatch.setattr(jax.config, "update", lambda _, value: update("no_such_setting", value))
    cpu.keep_buffers.__wrapped__()
    assert asked == ([2**32] if platform.libc_ver()[0] == "glibc" else [])


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        (jax.random.normal, {}),
        (jax.random.gumbel, {}),
        (jax.random.uniform, {"minval": 0.25, "maxval": 0.5}),
        (jax.random.bits, {"dtype": jnp.uint16}),
    ],
)
def test_flat_noise_has_the_bits_of_noise_in_its_shape(sampler, options):
    drawn = cpu.draw_flat(sampler, KEY, (2, 3, 5), **options)
    np.testing.assert_array_equal(drawn, sampler(KEY, (2, 3, 5), **options))
