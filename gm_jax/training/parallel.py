"""Runs steps on devices; no other file knows how.

A train step is written once, for a device's share of the batch; it exchanges values with other
devices through `gm_jax.devices`, whose axis is bound here. `jit` runs a step on one device; `pmap`
on all, in the older way; `shard_map` on all, under `jit` over a mesh, which scales to pods. All
three give the same update.
"""

import functools
import glob
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from gm_jax import cpu
from gm_jax.borders import described
from gm_jax.devices import AXIS

Tree = Any
MODES = ("jit", "pmap", "shard_map")


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    deterministic: bool = False,
) -> None:
    """Joins the processes of a run; call it before anything else uses JAX.

    Args:
      coordinator: address host:port of process 0. Without it this is the only process, unless it
        runs on Cloud TPU, where JAX finds the others itself.
      num_processes: number of processes.
      process_id: number of this process.
      deterministic: whether to use deterministic operations on GPU, so that the same run gives the
        same bits.
    """
    if deterministic:
        flag = "--xla_gpu_deterministic_ops=true"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    given = [coordinator, num_processes, process_id]
    if None in given and given != [None] * 3:
        raise ValueError(
            f"--coordinator={coordinator}, --num_processes={num_processes}, --process_id="
            f"{process_id}: give all three, or on Cloud TPU none"
        )
    if coordinator is not None:
        try:
            jax.distributed.initialize(coordinator, num_processes, process_id)
        except Exception as error:  # a wrong address is an IndexError, a missing process JAX's own
            raise ValueError(
                f"--coordinator={coordinator}, --num_processes={num_processes}, --process_id="
                f"{process_id}: the processes cannot join ({described(error)}); give HOST:PORT of "
                "process 0, and each its number from 0 on"
            ) from error
    elif importlib.util.find_spec("libtpu") is not None and glob.glob("/dev/accel*") + glob.glob(
        "/dev/vfio/*"
    ):
        jax.distributed.initialize()


class Parallel:
    """The devices of a run, and functions placed on them.

    State and variables are replicated; batches are split by example.

    Args:
      mode: one of `MODES`.
      devices: the devices to use; by default one for `jit` and all for the others.
      precision: precision of float32 products and convolutions, as for
        `jax.default_matmul_precision`. The hardware's default is TF32 on recent GPUs and bfloat16
        on TPUs, with which inverses of flows miss levels, and likelihoods lose their third digit.

    Raises:
      ValueError: unknown mode, or `jit` in a run of several processes.
    """

    def __init__(
        self, mode: str, devices: Sequence[jax.Device] | None = None, precision: str = "highest"
    ):
        if mode not in MODES:
            raise ValueError(f"train.parallel is '{mode}'; choose among {', '.join(MODES)}")
        if mode == "jit" and jax.process_count() > 1:
            raise ValueError(
                f"train.parallel is 'jit', which runs on one device, but there are "
                f"{jax.process_count()} processes; choose shard_map"
            )
        if devices is None:
            devices = jax.local_devices()[:1] if mode == "jit" else jax.devices()
        self.mode, self._precision = mode, precision
        self.num_devices = len(devices)
        # jax.make_mesh may reorder devices, but a process's share of a batch must be at its place
        # in the global order, by which examples are indexed.
        devices = sorted(devices, key=lambda device: (device.process_index, device.id))
        self.mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self.replicated = NamedSharding(self.mesh, P())
        local = [device for device in devices if device.process_index == jax.process_index()]
        self._local_mesh = Mesh(np.array(local), (AXIS,), axis_types=(AxisType.Auto,))
        self._on_cpu = devices[0].platform == "cpu"
        self._compiler_options = self._on_cpu_alone(cpu.FAST_COMPILE)

    def check_batch_size(self, name: str, batch_size: int) -> None:
        """Refuses a global batch that the devices cannot share evenly."""
        if batch_size < 1 or batch_size % self.num_devices:
            raise ValueError(
                f"{name} = {batch_size} cannot be shared by {self.num_devices} devices: make it a "
                f"multiple of {self.num_devices}"
            )

    def put_training_batch(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Puts this process's share of a global batch where the train step expects it."""
        if self.mode != "pmap":
            return self.put(batch)
        num_local = self._local_mesh.size
        sharding = NamedSharding(self._local_mesh, P(AXIS))
        return {
            name: jax.device_put(array.reshape(num_local, -1, *array.shape[1:]), sharding)
            for name, array in batch.items()
        }

    def put(self, batch: Tree) -> Tree:
        """Splits this process's share of a batch over its devices, as global arrays."""
        sharding = NamedSharding(self.mesh, P(AXIS))
        return jax.tree.map(
            lambda array: jax.make_array_from_process_local_data(sharding, array), batch
        )

    def train_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles `step(state, batch, key)`, which donates the given state."""
        step = self._precisely(step)
        if self.mode == "jit":
            return jax.jit(step, donate_argnums=0, compiler_options=self._compiler_options)
        if self.mode == "pmap":
            return jax.pmap(
                step,
                AXIS,
                in_axes=(None, 0, None),
                out_axes=(None, None),
                devices=list(self.mesh.devices.flat),
                donate_argnums=0,
            )
        # With check_vma, pmean of a gradient would sum over devices what is already summed.
        mapped = jax.shard_map(
            step,
            mesh=self.mesh,
            in_specs=(P(), P(AXIS), P()),
            out_specs=(P(), P()),
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=0, compiler_options=self._compiler_options)

    def compile_once(self, function: Callable[..., Tree]) -> Callable[..., Tree]:
        """Compiles a function that is called once; its result is replicated.

        On CPU it is compiled without optimization, because optimizing takes ten times as long.
        """
        options = self._on_cpu_alone(cpu.NO_OPTIMIZATION)
        function = self._precisely(function)
        return jax.jit(function, out_shardings=self.replicated, compiler_options=options)

    def _on_cpu_alone(self, options: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the compiler options if the devices are CPUs, as `jax.jit` expects them."""
        return cpu.known_options(options) if self._on_cpu else None

    def per_example(self, function: Callable[..., Tree]) -> Callable[..., Tree]:
        """Compiles `function(variables, batch, key)` -> arrays [B, ...] to run on devices' shares.

        The result is on the host, for the whole global batch, in every process.
        """
        return self._on_shares(function, P(AXIS))

    def per_batch(self, function: Callable[..., Tree]) -> Callable[..., Tree]:
        """The same for what all devices find alike, such as moments of the global batch."""
        return self._on_shares(function, P())

    def _on_shares(self, function: Callable[..., Tree], result: P) -> Callable[..., Tree]:
        mapped = jax.shard_map(
            self._precisely(function),
            mesh=self.mesh,
            in_specs=(P(), P(AXIS), P()),
            out_specs=result,
            check_vma=False,
        )
        compiled = jax.jit(mapped, compiler_options=self._compiler_options)

        def call(variables: Tree, batch: dict[str, np.ndarray], key: jax.Array) -> Tree:
            return self.to_host(compiled(variables, self.put(batch), key))

        return call

    def _precisely(self, function: Callable[..., Tree]) -> Callable[..., Tree]:
        """Returns the function, to be traced with this run's precision of products."""

        @functools.wraps(function)
        def call(*args: Any) -> Tree:
            with jax.default_matmul_precision(self._precision):
                return function(*args)

        return call

    def to_global(self, state: Tree) -> Tree:
        """Returns a replicated state as global arrays, as checkpoints and evaluation need it."""
        if self.mode == "pmap" and jax.process_count() > 1:
            return multihost_utils.host_local_array_to_global_array(
                jax.device_get(state), self.mesh, P()
            )
        return state

    def to_host(self, tree: Tree) -> Tree:
        """Converts global arrays to NumPy arrays, complete in every process."""
        if jax.process_count() > 1:
            return multihost_utils.process_allgather(tree, tiled=True)
        return jax.device_get(tree)
