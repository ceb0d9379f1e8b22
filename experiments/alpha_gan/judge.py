"""What the runs of α-GAN's sweep are judged by (section 5): critic, inception scores, diversity.

MS-SSIM takes five scales, hence sides of at least 16 pixels; smaller images are enlarged by
repeating their pixels, test images too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from experiments.alpha_gan import train
from gm_jax.evaluation.batches import over_rows
from gm_jax.evaluation.context import Context
from gm_jax.evaluation.feature_networks import FeatureNetwork, open_network
from gm_jax.evaluation.image_sets import spread_images
from gm_jax.evaluation.inception_score import inception_score
from gm_jax.evaluation.ms_ssim import sample_diversity
from gm_jax.evaluation.request import Request
from gm_jax.evaluation.wasserstein_critic import CriticResult, independent_wasserstein_critic
from gm_jax.images import spread
from gm_jax.training import recorded
from gm_jax.training.run import Run, open_run
from gm_jax.training.workdir import dumps, read_json, write_atomically, write_npz

NOISE = (0.1, 0.3)  # standard deviations, of images in [−1, 1]; the paper does not say its own
PAIRS = 5_000  # of images whose MS-SSIM is averaged
SIDE = 16
BATCH = 32  # of the critic


class Judge:
    """Judges runs on the same images with the same networks.

    Args:
      run: any of the runs; it gives the real images and the devices.
      classifiers: names of `feature_networks.NETWORKS`, two or more.
      num_samples: number of samples of a run, half of which the critic learns from.
      critic_steps: updates of the critic, spread equally over the model's second half.
    """

    def __init__(self, run: Run, classifiers: Sequence[str], num_samples: int, critic_steps: int):
        self.run, self.num_samples, self.critic_steps = run, num_samples, critic_steps
        self.networks = [open_network(name, run, None, "tf1") for name in classifiers]
        self.validation, self.test = map(spread_images, map(run.dataset, ("validation", "test")))
        self.identity = {
            "classifiers": [network.identity for network in self.networks],
            "data": {"source": run.config.data.source, **recorded.contents(run.datasets)},
            "num_samples": num_samples,
            "critic_steps": critic_steps,
        }

    def judged(self, config: Any, workdir: epath.PathLike) -> dict[str, float]:
        """The scores of a finished run, from its folder if they are there.

        It writes `judged.json` and, with the critic's curves, `critic.npz` into that folder.
        """
        folder = epath.Path(workdir)

        def score() -> dict[str, float]:
            run = open_run(config, folder)
            with Context(run, Request(num_samples=self.num_samples)) as context:
                samples = context.sample_images
            files = late_files(folder, config.train.steps)
            critic = self.critic(samples, [_late(run, file) for file in files])
            write_npz(folder / "critic.npz", critic._asdict())
            return {
                "critic": critic.negative_distance,
                "critic_validation": float(critic.validation_curve[-1]),
                **self.of_images(samples),
            }

        return self._kept(folder / "judged.json", {"steps": config.train.steps}, score)

    def _kept(self, path: epath.Path, about: dict[str, Any], compute: Callable[[], Any]) -> Any:
        """What `compute` returns, kept in a file for the same judge and the same `about`."""
        identity = self.identity | about
        if path.exists() and (stored := read_json(path))["identity"] == identity:
            return stored["scores"]
        scores = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, dumps({"identity": identity, "scores": scores}, indent=1) + "\n")
        return scores

    def of_images(self, images: np.ndarray) -> dict[str, float]:
        """The inception score by each classifier, and the diversity, of uint8 [N, H, W, C].

        A split of the score has about 100 images or more, as small ones bias it downwards.
        """
        splits = max(1, min(10, len(images) // 100))
        scores = {
            f"is_{number}": inception_score(self.logits(network, images), splits)[0]
            for number, network in enumerate(self.networks, 1)
        }
        return scores | {"diversity": diversity(images)}

    def references(self, folder: epath.PathLike) -> dict[str, dict[str, float]]:
        """The scores of training images, of test images, and of these with noise.

        Training images stand for a perfect model before the critic, too. The folder's
        `references.json` keeps them.
        """

        def score() -> dict[str, dict[str, float]]:
            images = spread_images(self.run.train_data)
            images = images[np.random.default_rng(0).permutation(len(images))[: self.num_samples]]
            distance = self.critic(images).negative_distance
            rows = {"training images": {"critic": distance, **self.of_images(images)}}
            rows["test images"] = self.of_images(self.test)
            for std in NOISE:
                noisy = with_noise(self.test, std)
                rows[f"test images + {std:g} noise"] = self.of_images(noisy)
            return rows

        return self._kept(epath.Path(folder) / "references.json", {"noise": list(NOISE)}, score)

    def critic(self, samples: np.ndarray, earlier: Sequence[np.ndarray] = ()) -> CriticResult:
        """The critic's judgement; its curves have a point after each share of the samples."""
        return independent_wasserstein_critic(
            samples,
            self.validation,
            self.test,
            num_steps=self.critic_steps,
            batch_size=BATCH,
            num_points=min(20, self.critic_steps),
            earlier=earlier,
        )

    def logits(self, network: FeatureNetwork, images: np.ndarray) -> np.ndarray:
        """A classifier's logits, [N, classes]."""
        outputs = over_rows(
            images,
            lambda batch: network.extract(batch["rows"]),
            self.run.config.evaluate.batch_size,
            np.arange(len(images)),
        )
        return outputs["logits"]


def late_files(folder: epath.Path, steps: int) -> list[epath.Path]:
    """The files of `train.py` from half-way to before the last of so many steps, in order.

    A training that was continued with more steps leaves others, of its first half.
    """
    found = {int(file.stem[5:]): file for file in (folder / train.FOLDER).glob("step_*.npz")}
    return [found[step] for step in sorted(found) if step < steps and train.is_late(step, steps)]


def _late(run: Run, file: epath.Path) -> np.ndarray:
    """Samples that `train.py` kept, uint8 [N, H, W, C] in 0..255."""
    with file.open("rb") as opened, np.load(opened) as stored:
        return spread(stored["image"], run.train_data.levels)


def enlarged(images: np.ndarray) -> np.ndarray:
    """Images whose sides are at least 16 pixels: each pixel is repeated as often as that takes."""
    times = math.ceil(SIDE / min(images.shape[1:3]))
    return images.repeat(times, axis=1).repeat(times, axis=2)


def diversity(images: np.ndarray) -> float:
    """1 − mean MS-SSIM of random pairs of images, uint8 [N ≥ 2, H, W, C] in 0..255."""
    pairs = min(PAIRS, len(images) * (len(images) - 1) // 2)
    return sample_diversity(enlarged(images), pairs, seed=0)


def with_noise(images: np.ndarray, std: float) -> np.ndarray:
    """Images with normal noise, whose deviation is that of images in [−1, 1]; clipped to 0..255."""
    noise = np.random.default_rng(0).normal(scale=127.5 * std, size=images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def curves(folder: epath.PathLike) -> Mapping[str, list[tuple[int, float]]]:
    """The critic's curves of a judged run (fig. 13): {"validation", "test": [(step, value)]}."""
    with (epath.Path(folder) / "critic.npz").open("rb") as file, np.load(file) as stored:
        return {
            split: [
                (int(step), float(value))
                for step, value in zip(stored["steps"], stored[f"{split}_curve"], strict=True)
            ]
            for split in ("validation", "test")
        }
