"""The training loop of every method, on any devices; it can be killed and resumed at any time."""

import logging
import time
from collections.abc import Callable
from typing import Any

import jax

from gm_jax import optimizers
from gm_jax import state as train_state
from gm_jax.nn.weight_norm import num_parameters
from gm_jax.state import TrainState
from gm_jax.training import storage
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.logging import MetricWriter
from gm_jax.training.preemption import Preemption
from gm_jax.training.profile import Trace
from gm_jax.training.progress import ProgressBar, say, working
from gm_jax.training.run import Run

_log = logging.getLogger(__name__)
Validate = Callable[[Run, dict[str, Any], int, MetricWriter], float]


def train(run: Run, validate: Validate) -> bool:
    """Trains a run from its latest checkpoint, or from the start, to `train.steps`.

    Args:
      run: the run returned by `open_run`; the caller holds its work directory.
      validate: (run, variables, step, writer) -> bits/dim on validation, or another score whose
        lowest value selects the best checkpoint. It also draws pictures.

    Returns:
      Whether the run is finished (False: it was asked to end, and saved).

    Raises:
      ValueError: the work directory holds checkpoints of another model, or none that can be read.
      FloatingPointError: a loss term or a gradient was not finite. It was neither applied nor
        saved.
    """
    config = run.config
    batches = run.training_batches(put=run.parallel.put_training_batch)
    first, project = jax.process_index() == 0, config.train.wandb_project
    writer = MetricWriter(run.workdir, enabled=first, wandb_project=project)
    trace = Trace(run.workdir / "profile", config.train.profile_steps)
    with Checkpoints(run.workdir) as checkpoints, writer, Preemption() as preemption, trace:
        fresh = checkpoints.latest_step() is None
        if fresh:
            storage.probe(run.workdir)
        state, step, validated = _start(run, checkpoints, batches)
        writer.truncate(step, validated)
        say(f"parameters: {_sizes(state)}")
        if told := optimizers.decay_beside(config.optimizer, config.train.steps):
            say(told)

        def save(state: TrainState, step: int, metrics: dict[str, Any]) -> None:
            nonlocal fresh
            check_finite(state, metrics)
            whole = run.parallel.to_global(state)
            checkpoints.save(step, whole, batches)
            if fresh:
                checkpoints.wait()
                start = time.perf_counter()
                checkpoints.verify(step, whole, batches)
                seconds = time.perf_counter() - start
                say(f"the first checkpoint, of step {step}, is read back whole ({seconds:.1f} s)")
                fresh = False

        def judge(state: TrainState, step: int) -> None:
            """Scores a state that is already saved, so that being killed here costs nothing."""
            whole = run.parallel.to_global(state)
            score = validate(run, train_state.evaluation_variables(whole), step, writer)
            checkpoints.save(step, whole, batches, score)

        def is_due(step: int) -> bool:
            return step % config.train.evaluate_every_steps == 0 or step == config.train.steps

        if step > 0 and is_due(step) and not validated:
            judge(state, step)
        train_step = run.parallel.train_step(run.method.train_step)
        key = run.keys["train"]
        with ProgressBar(config.train.steps, step) as bar:
            speed = _Speed(config.data.batch_size * run.method.batches_per_step, step)
            while step < config.train.steps:
                state, metrics = train_step(state, next(batches), key)
                step += 1
                trace.reached(step, state)
                asked = preemption.reached(step)
                if step % config.train.log_every_steps == 0 or step == config.train.steps:
                    metrics = jax.device_get(metrics)
                    check_finite(state, metrics)
                    values = {name: float(value) for name, value in metrics.items()}
                    writer.scalars(step, values | {"images_per_second": speed(step)})
                    bar.update(step, values, speed.value)
                if asked or is_due(step) or step % config.train.checkpoint_every_steps == 0:
                    save(state, step, metrics)
                    if asked:
                        checkpoints.wait()
                        _log.warning("asked to end: saved step %d; the same command goes on", step)
                        return False
                    if is_due(step):
                        judge(state, step)
                    speed.skip(step)
        return not preemption.reached(step + 1)  # a signal during the last validation


def _start(run: Run, checkpoints: Checkpoints, batches: Any) -> tuple[TrainState, int, bool]:
    """Restores the latest checkpoint, or initialises; says whether validation has scored it."""
    if checkpoints.latest_step() is None:
        with working("initialising the networks"):
            return run.initial_state(), 0, False
    state, step = checkpoints.restore(run.state_template, batches)
    say(f"going on from step {step} of {run.workdir}")
    return state, step, checkpoints.is_scored(step)


def _sizes(state: TrainState) -> str:
    """The number of parameters of each network, as text."""
    sizes = {name: num_parameters(tree) for name, tree in state.params.items()}
    return ", ".join(f"{name} {size:,}" for name, size in sizes.items())


def check_finite(state: TrainState, metrics: dict[str, Any]) -> None:
    """Raises FloatingPointError if a non-finite update was skipped since the last check."""
    failure = train_state.describe_failure(state, metrics)
    if failure is not None:
        raise FloatingPointError(
            f"{failure}. The update was skipped and nothing saved since; the last checkpoint is "
            "good. Lower optimizer.learning_rate in a new --workdir, or look at the data"
        )


class _Speed:
    """Images per second since the last query, without the time for saving and validation."""

    def __init__(self, images_per_step: int, step: int):
        self.value = 0.0
        self._images_per_step = images_per_step
        self.skip(step)

    def __call__(self, step: int) -> float:
        seconds = time.perf_counter() - self._time
        self.value = (step - self._step) * self._images_per_step / seconds
        self.skip(step)
        return self.value

    def skip(self, step: int) -> None:
        """Restarts the count."""
        self._time, self._step = time.perf_counter(), step
