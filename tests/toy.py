"""A whole method that compiles in a second, and its page: a linear VAE.

Tests of the loop, of checkpoints, processes and `load` run it in place of a published method. As
a program it is `experiments/main.py` with this method among the others.
"""

import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from configs import common
from gm_jax import choices, distributions, methods, optimizers
from gm_jax.methods.method import Loss, Method, Player

PUBLISHED = {
    "data": common.DIGITS | {"batch_size": 16},
    "train": common.TRAIN,
    "evaluate": common.RECONSTRUCT,
    "sample": common.SAMPLE,
    "optimizer": common.ADAM | {"learning_rate": 0.01},
    "model": {"latents": 3, "ema_decay": 0.9, "matmul_dtype": "float32"},
}


def get_config(variant="smoke"):
    return common.page("toy", variant, PUBLISHED, variant={"smoke": common.SMOKE})


class Toy(Method):
    """z ~ N(0, I); `f_z` = W z + b is the image that discretised logistics are around."""

    likelihood = "bound"

    def __init__(self, config, data, frozen=None):
        super().__init__(config, data, frozen)
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player("model", ("encoder", "decoder"), optimizer, self.loss),)

    def init_networks(self, key, batch, noise):
        x = self.scale(batch["image"])
        weights = 0.1 * jax.random.normal(key, (self.model.latents, x[0].size))
        decoder = {"weights": weights, "mean": x.mean(0), "log_scale": jnp.float32(-1)}
        encoder = {"weights": weights.T, "log_std": jnp.zeros(self.model.latents)}
        return {"encoder": {"params": encoder}, "decoder": {"params": decoder}}

    def loss(self, variables, batch, noise, step):
        parts = self.log_likelihood(variables, batch, noise)
        terms = {"kl": parts["kl"], "reconstruction": -parts["reconstruction"]}
        return Loss(terms, {"bits_per_dim": self.bits(parts["log_likelihood"])})

    def log_likelihood(self, variables, batch, noise):
        (mean, log_std), (z,) = self._posterior(variables, batch, noise)
        log_ratio = distributions.gaussian_log_prob(z, mean, log_std)
        kl = jnp.sum(log_ratio - distributions.gaussian_log_prob(z, 0.0, 0.0), -1)
        log_scale = variables["decoder"]["params"]["log_scale"]
        log_prob = distributions.discretized_logistic_log_prob(
            self.scale(batch["image"]), self._mean(variables, z), log_scale, self.levels
        )
        reconstruction = jnp.sum(log_prob, (1, 2, 3))
        return {"log_likelihood": reconstruction - kl, "kl": kl, "reconstruction": reconstruction}

    def encode(self, variables, batch, noise):
        return self._posterior(variables, batch, noise)[1]

    def decode(self, variables, latents, noise, labels=None):
        return self._picture(variables, latents[0], noise, 1.0)

    def draw(self, variables, noise, labels, temperature):
        latents, pixels = noise.split()
        z = temperature * latents.normal(self.model.latents)
        return self._picture(variables, z, pixels, temperature)

    def code_latents(self, variables, image, latents, choose):
        mean, log_std = self._moments(variables, image)
        return choose(choices.bin_masses(mean, jnp.broadcast_to(log_std, mean.shape)), latents)

    def code_image(self, variables, latents, image, choose):
        bins = choose(choices.uniform_masses((len(image), self.model.latents)), latents)
        mean = self._mean(variables, choices.latents_of(bins))
        log_scale = jnp.full_like(mean, variables["decoder"]["params"]["log_scale"])
        masses = distributions.discretized_logistic_masses(mean, log_scale, self.levels)
        return bins, choose(masses, image.astype(jnp.int32)).astype(jnp.uint8)

    def _moments(self, variables, image):
        params, x = variables["encoder"]["params"], self.scale(image)
        return x.reshape(x.shape[0], -1) @ params["weights"], params["log_std"]

    def _posterior(self, variables, batch, noise):
        mean, log_std = self._moments(variables, batch["image"])
        z = mean + jnp.exp(log_std) * noise.layer(0).normal(self.model.latents)
        return (mean, log_std), [z]

    def _mean(self, variables, z):
        params = variables["decoder"]["params"]
        return params["mean"] + (z @ params["weights"]).reshape(-1, *self.image_shape)

    def _picture(self, variables, z, noise, temperature):
        mean = jnp.clip(self._mean(variables, z), -1, 1)
        scale = temperature * jnp.exp(variables["decoder"]["params"]["log_scale"])
        drawn = mean + scale * noise.logistic(*self.image_shape)
        pictures = {"f_z": mean, "image": drawn}
        return {k: distributions.quantize(x, self.levels) for k, x in pictures.items()}


def slow_down():
    """Makes a step slow enough to be interrupted and, if requested, fail in one process."""
    from gm_jax.training.preemption import Preemption

    reached = Preemption.reached

    def look(self, step):
        time.sleep(0.03)
        if os.environ.get("TOY_FAILS") == f"{jax.process_index()} at {step}":
            raise OSError("the disk is gone")
        return reached(self, step)

    Preemption.reached = look


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "experiments")]
    import main

    from gm_jax import command_line

    methods.METHODS["toy"] = Toy
    slow_down()
    command_line.run(main.main)
