"""The training loop: every method's, on any devices, killed and resumed at any time."""

import time
from collections.abc import Callable
from typing import Any

import jax
from absl import logging

from gm_jax import data
from gm_jax import state as train_state
from gm_jax.state import TrainState
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.logging import MetricWriter, ProgressBar
from gm_jax.training.preemption import Preemption
from gm_jax.training.run import Run

Validate = Callable[[Run, dict[str, Any], int, MetricWriter], float | None]


def train(run: Run, validate: Validate) -> bool:
    """Trains a run from its latest checkpoint, or from the start, to `train.steps`.

    Args:
      run: of `open_run`; its work directory is held by the caller.
      validate: (run, variables, step, writer) -> bits/dim on validation, by which the best
        checkpoint is chosen, or None for a method without a likelihood. Also draws pictures.

    Returns:
      Whether the run is finished (False: it was asked to end, and saved).

    Raises:
      FloatingPointError: a loss term or a gradient was not finite. It was neither applied nor
        saved.
    """
    config = run.config
    batches = data.training_batches(
        run.train_data,
        batch_size=config.data.batch_size,
        seed=config.seed,
        flip=config.data.flip,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        put=run.parallel.put_training_batch,
    )
    writer = MetricWriter(run.workdir, enabled=jax.process_index() == 0)
    with Checkpoints(run.workdir) as checkpoints, writer, Preemption() as preemption:
        state, step = _start(run, checkpoints, batches)
        writer.truncate(step)
        train_step = run.parallel.train_step(run.method.train_step)
        with ProgressBar(config.train.steps, step) as bar:
            speed = _Speed(config.data.batch_size, step)
            while step < config.train.steps:
                state, metrics = train_step(state, next(batches), run.key)
                step += 1
                asked = preemption.reached(step)
                last = step == config.train.steps
                if step % config.train.log_every_steps == 0 or last or asked:
                    check_finite(state, metrics)
                    values = {name: float(value) for name, value in metrics.items()}
                    writer.scalars(step, values | {"images_per_second": speed(step)})
                    bar.update(step, values, speed.value)
                validated = (step % config.train.evaluate_every_steps == 0 or last) and not asked
                if validated or asked or step % config.train.checkpoint_every_steps == 0:
                    check_finite(state, metrics)
                    score = None
                    whole = run.parallel.to_global(state)
                    if validated:
                        variables = train_state.evaluation_variables(whole)
                        score = validate(run, variables, step, writer)
                        speed.skip(step)
                    checkpoints.save(step, whole, batches, score)
                if asked and not last:
                    checkpoints.wait()
                    logging.warning("asked to end: saved step %d; the same command goes on", step)
                    return False
        checkpoints.wait()
    return True


def _start(run: Run, checkpoints: Checkpoints, batches: Any) -> tuple[TrainState, int]:
    """Restores the latest checkpoint, or initialises."""
    if checkpoints.latest_step() is None:
        return run.initial_state(), 0
    state, step = checkpoints.restore(run.state_template(), batches)
    logging.info("restored step %d", step)
    return state, step


def check_finite(state: TrainState, metrics: dict[str, Any]) -> None:
    """Raises FloatingPointError if an update was skipped as not finite since the last look."""
    failure = train_state.describe_failure(state, metrics)
    if failure is not None:
        raise FloatingPointError(
            f"{failure}. The update was skipped and nothing saved since; the last checkpoint is "
            "good. Lower optimizer.learning_rate in a new --workdir, or look at the data"
        )


class _Speed:
    """Images per second since the last look, the time of validation left out."""

    def __init__(self, batch_size: int, step: int):
        self.value = 0.0
        self._batch_size = batch_size
        self.skip(step)

    def __call__(self, step: int) -> float:
        seconds = time.perf_counter() - self._time
        self.value = (step - self._step) * self._batch_size / seconds
        self.skip(step)
        return self.value

    def skip(self, step: int) -> None:
        """Starts counting anew."""
        self._time, self._step = time.perf_counter(), step
