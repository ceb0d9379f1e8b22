"""Parts of the accelerator's report that train; `parts.py` says what a part is."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.accelerator.parts import Given

Found = Iterator[dict[str, Any]]
AV_ADE = "adaptive_density.py:av_ade,cifar10"
# Three layers that compile within seconds.
QUICK = "pixelcnn.py:photos"
# Validation, with its pictures, compiles for longer than these trainings take.
NEVER = {"train.evaluate_every_steps": 10**6, "train.steps": 10**6}
SCORING_SECONDS = 45.0  # kept for what follows a training
NUM_TEST_IMAGES = 512
NUM_POINTS = 200  # of a curve


@dataclasses.dataclass(frozen=True)
class Training:
    """A page trained for some seconds, in bfloat16, and then scored on test images."""

    page: str
    seconds: float = 100.0
    batch_size: int = 64

    def workdir(self, given: "Given") -> Path:
        """Its work directory, which later parts read."""
        return given.scratch / "runs" / self.page.replace(":", "-").replace(",", "-")

    def config(self, given: "Given") -> Any:
        """Its config."""
        fields = {"data.batch_size": self.batch_size, "model.matmul_dtype": "bfloat16"}
        return given.config(self.page, {**fields, **NEVER, "train.log_every_steps": 20})

    def __call__(self, given: "Given") -> Found:
        """Trains it as the command does, and ends it as a user does: by a signal."""
        import gm_jax
        from experiments import side_by_side
        from gm_jax import session
        from gm_jax.training.run import load_split

        config, workdir = self.config(given), self.workdir(given)
        whole = min(self.seconds, max(10.0, given.seconds - SCORING_SECONDS))
        with ended_after(5.0 if given.tiny else whole, workdir / "metrics.jsonl"):
            session.train(config, str(workdir))
        lines = (workdir / "metrics.jsonl").read_text().splitlines()
        last = json.loads(lines[-1])
        yield {"row": self.page, **{name: last[name] for name in ("step", "images_per_second")}}
        curves = side_by_side.read_curves(str(workdir))
        thinned = {
            name: points[:: len(points) // NUM_POINTS + 1] for name, points in curves.items()
        }
        yield {"curve": self.page, "points": thinned}
        yield {
            "row": self.page,
            **{f"last_{name}": points[-1][1] for name, points in curves.items()},
        }
        images = load_split(config.data, "test").images[: 8 if given.tiny else NUM_TEST_IMAGES]
        bits = gm_jax.load(workdir).bits_per_dim(images)
        yield {
            "row": self.page,
            "test_images": len(images),
            "test_bits_per_dim": float(bits.mean()),
        }


@contextlib.contextmanager
def ended_after(seconds: float, file: Path) -> Iterator[None]:
    """Sends this process SIGTERM so many seconds after a file has appeared, unless it has left."""
    left = threading.Event()

    def wait() -> None:
        while not file.exists():
            if left.wait(0.2):
                return
        if not left.wait(seconds):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield
    finally:
        left.set()


def fd_c(given: "Given") -> Found:
    """The Fréchet distance of av_ade's samples by a classifier that is trained here, too."""
    from gm_jax import session
    from gm_jax.evaluation.battery import evaluate
    from gm_jax.evaluation.records import read_results
    from gm_jax.evaluation.request import Request
    from gm_jax.training.run import open_run

    judged = Training(AV_ADE)
    if not (judged.workdir(given) / "checkpoints").exists():
        raise ValueError("there is no run of av_ade to judge: run the part train_av_ade before")
    judge = Training("classifier.py:cifar10_small", batch_size=128)
    whole = 5.0 if given.tiny else max(10.0, min(40.0, given.seconds - 60))
    with ended_after(whole, judge.workdir(given) / "metrics.jsonl"):
        session.train(judge.config(given), str(judge.workdir(given)))
    run = open_run(judged.config(given), judged.workdir(given))
    request = Request(
        metrics=("fid", "is"),
        num_samples=16 if given.tiny else 1_000,
        features=f"classifier:{judge.workdir(given)}",
    )
    missing = evaluate(run, request)
    for result in read_results(run.workdir):
        yield {"row": result["metric"], "seconds": result["seconds"], **result["values"]}
    for name, reason in missing.items():
        yield {"row": name, "missing": reason}


def trained_digest(given: "Given", page: str, steps: int) -> str:
    """A hash of the parameters after some deterministic steps, in a process that does only this."""
    import jax

    from gm_jax.training import parallel

    parallel.initialize(deterministic=True)
    params = jax.device_get(after_steps(given.open(page, {"train.deterministic": True}), steps))
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(leaf.tobytes())
    return digest.hexdigest()[:16]


def after_steps(run: Any, steps: int) -> Any:
    """A run's parameters after some steps from its start."""
    state, batches = run.initial_state(), run.training_batches(put=run.parallel.put_training_batch)
    step = run.parallel.train_step(run.method.train_step)
    for _ in range(steps):
        state, _ = step(state, next(batches), run.keys["train"])
    batches.close()
    return state.params


def deterministic(given: "Given") -> Found:
    """Trains the same run in two processes with `train.deterministic`: are all bits equal?"""
    fresh = multiprocessing.get_context("spawn")
    for number in (1, 2):
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=fresh) as pool:
            digest = pool.submit(trained_digest, given, QUICK, 20).result()
        yield {"row": f"run {number}, 20 steps", "sha256_of_parameters": digest}


def modes(given: "Given") -> Found:
    """Is an update the same under jit, shard_map and pmap, by plain SGD in float32?"""
    import jax
    import numpy as np

    from gm_jax.training.parallel import MODES

    found: dict[str, Any] = {}
    for mode in MODES:
        fields = {"train.parallel": mode, "model.matmul_dtype": "float32"}
        fields |= {"optimizer.name": "sgd", "optimizer.learning_rate": 1e-4}
        found[mode] = jax.device_get(after_steps(given.open(QUICK, fields), 3))
        apart = jax.tree.map(lambda a, b: np.max(np.abs(a - b)), found[mode], found[MODES[0]])
        yield {
            "row": mode,
            f"largest_difference_from_{MODES[0]}": float(max(jax.tree.leaves(apart))),
        }
