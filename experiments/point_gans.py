"""GANs on points, for the papers' programs: trained in a compiled loop, kept, and scored.

They do not go through `main.py`, as their steps cost less than its start.
"""

import ast
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from experiments import program
from gm_jax import command_line, methods
from gm_jax.data.fields import DataSpec, Field
from gm_jax.data.points import Mixture
from gm_jax.evaluation.mode_coverage import mode_coverage
from gm_jax.methods.method import Method, Variables
from gm_jax.state import TrainState, evaluation_variables
from gm_jax.training.progress import working
from gm_jax.training.workdir import to_json, write_npz

Array = jax.Array
Data = Any  # a tree of arrays
Judge = Callable[[Method, Variables, Array, Data], dict[str, Array]]
Result = dict[str, np.ndarray]
CHUNKS = (100, 10, 1)  # steps per call of a compiled program: as many as fit
KEYS = ("start", "stream", "noise", "drawing")


class PointGan:
    """A GAN on points; all seeds, and data of one shape, share its compiled programs.

    Args:
      config: of a page. Methods of mixed batches read its seed, and need a GAN for each.
      draw: (key, data) -> a batch of points, float [B, `dimensions`].
      judge: (method, variables, key, data) -> {name: array}, what is known of it after some steps.
      terms: names of `train_step`, which are recorded at every step.
      dimensions: of a point.
      create: makes the method.
    """

    def __init__(
        self,
        config: Any,
        draw: Callable[[Array, Data], Array],
        judge: Judge,
        terms: Sequence[str] = ("discriminator/loss", "generator/loss"),
        dimensions: int = 2,
        create: Callable[[Any, DataSpec], Method] = methods.create,
    ):
        with command_line.refusals():
            self.method = create(config, {"point": Field((dimensions,), "float32")})
        self.draw, self.terms = draw, terms
        self._start = jax.jit(self._first)
        self._run = jax.jit(self._steps, static_argnums=3, donate_argnums=0)
        self._judge = jax.jit(
            lambda state, key, data: judge(self.method, evaluation_variables(state), key, data)
        )

    def _first(self, keys: dict[str, Array], data: Data) -> TrainState:
        return self.method.init(keys["start"], {"point": self.draw(keys["drawing"], data)})

    def _steps(self, state: TrainState, keys: dict[str, Array], data: Data, count: int) -> Any:
        def step(state: TrainState, _: None) -> Any:
            key = jax.random.fold_in(keys["stream"], state.step)
            batches = tuple(
                {"point": self.draw(key, data)}
                for key in jax.random.split(key, self.method.batches_per_step)
            )
            state, terms = self.method.train_step(state, batches, keys["noise"])
            return state, tuple(terms[name] for name in self.terms)

        return jax.lax.scan(step, state, None, count)

    def start(self, seed: int, data: Data) -> TrainState:
        """The state at step 0."""
        return self._start(_keys(seed), data)

    def run(
        self, state: TrainState, seed: int, data: Data, steps: int
    ) -> tuple[TrainState, np.ndarray]:
        """The state after `steps` more steps, and the terms at each, [steps, terms]."""
        keys, losses = _keys(seed), [np.zeros((0, len(self.terms)))]
        while steps:
            count = next(chunk for chunk in CHUNKS if chunk <= steps)
            state, found = self._run(state, keys, data, count)
            losses.append(np.stack(found, 1))
            steps -= count
        return state, np.concatenate(losses)

    def train(
        self, seed: int, data: Data, marks: Sequence[int], state: TrainState | None = None
    ) -> Result:
        """Trains until the last mark, from a state at step 0, which is used up, if one is given.

        Returns:
          `marks`; what `judge` returns at each, [marks, ...]; `losses`, the terms at every step,
          [steps, terms]; `diverged`, whether an update that was not finite has been skipped.
        """
        state = self.start(seed, data) if state is None else state
        judged: list[Result] = []
        losses = []
        for before, mark in itertools.pairwise([0, *marks]):
            state, found = self.run(state, seed, data, mark - before)
            losses.append(found)
            judged.append(jax.device_get(self._judge(state, _keys(seed)["drawing"], data)))
        return {
            "marks": np.array(marks),
            **{name: np.stack([each[name] for each in judged]) for name in judged[0]},
            "losses": np.concatenate(losses),
            "diverged": np.array(any(int(first[0]) >= 0 for first in state.failures.values())),
        }


def _keys(seed: int) -> dict[str, Array]:
    """They are arguments of the compiled programs, so that all seeds share these."""
    return dict(zip(KEYS, jax.random.split(jax.random.key(seed), len(KEYS)), strict=True))


def set_fields(config: Any, settings: str, whose: str) -> None:
    """Sets fields of a config's section `model`, FIELD=VALUE[:…]; refuses those that it lacks."""
    for setting in filter(None, settings.split(":")):
        field, _, value = setting.partition("=")
        if field not in config.model:
            program.refuse(f"{whose} has no model.{field}")
        try:
            config.model[field] = ast.literal_eval(value)
        except (SyntaxError, TypeError, ValueError):
            program.refuse(f"{whose}: {field}={value} is no value of it")


def kept(path: epath.Path, config: Any, make: Callable[[], Result]) -> Result:
    """What `make` returns, from its file if that was written for the same config."""
    text = to_json(config)
    if path.exists():
        with path.open("rb") as file, np.load(file) as stored:
            if str(stored["config"]) == text:
                return dict(stored)
    with working(f"training {path.stem}"):
        result = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, result | {"config": np.array(text)})
    print(f"{path} is written", flush=True)
    return result


def covered(samples: np.ndarray, modes: Mixture) -> tuple[int, float, float]:
    """Modes hit, share of good samples and KL of the histogram; samples may not be finite."""
    finite = samples[np.isfinite(samples).all(1)]
    if not len(finite):
        return 0, 0.0, math.log(modes.num_classes)
    found = mode_coverage(finite, modes.modes, modes.std)
    divergence = min(found.histogram_kl, math.log(modes.num_classes))
    return found.num_modes, found.high_quality_share * len(finite) / len(samples), divergence
