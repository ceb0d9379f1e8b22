"""What a run costs: its parameters, and the time of a train step and of a sample."""

import statistics
from typing import Any

import jax
from etils import epath

import gm_jax
from experiments import measuring
from gm_jax.nn.weight_norm import num_parameters
from gm_jax.training import workdir as workdirs
from gm_jax.training.run import open_run

STEPS, DRAWS = 5, 3  # that are timed
# {cost: (its value, what it depends on)}
Costs = dict[str, tuple[float, dict[str, Any]]]


def costs_of(workdir: epath.PathLike) -> Costs:
    """Measures a trained run on the devices of this process.

    `parameters` counts those of all networks that are trained, a discriminator's, too. `step_ms` is
    the median time of a step with all its players' updates, on a batch of the config's size.
    `sample_ms`, where the method samples, is that of a batch of the best checkpoint's samples,
    divided by their number. Neither contains compilation.

    Raises:
      ValueError: there is no run, or no checkpoint; or its data cannot be read.
    """
    model = gm_jax.load(workdir)
    run = open_run(workdirs.read_config(workdir), workdir)
    on = {"device": f"{run.parallel.num_devices} × {jax.devices()[0].device_kind}"}
    state, batch = measuring.drawn_state(run), measuring.first_batch(run)
    found: Costs = {"parameters": (num_parameters(run.state_template.params), {})}
    step, _, _ = measuring.compile_step(run, state, batch)
    _, seconds = measuring.step_seconds(step, state, batch, run.keys["train"], STEPS)
    identity = {"batch_size": run.config.data.batch_size, **on}
    found["step_ms"] = 1e3 * statistics.median(seconds), identity
    if "sample" in run.method.capabilities:
        count = run.config.sample.batch_size
        model.sample(count)  # compiles
        seconds = [measuring.timed(model.sample, count)[1] for _ in range(DRAWS)]
        identity = {"batch_size": count, **on}
        found["sample_ms"] = 1e3 * statistics.median(seconds) / count, identity
    return found
