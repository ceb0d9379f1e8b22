"""VAEs whose decoder is a PixelCNN (Gulrajani et al., 2017; Chen et al., 2017; thesis 2.10.5).

z is a vector, below which there may be maps of latents, each with a prior given those above it. A
PixelCNN draws the image given f(z). If it sees all pixels before one, it needs no z (thesis 3.3.2):
it sees a window alone (the lossy VAE), or the KL divergence is floored, weighted or warmed up.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.flows.transform import Context, normal_log_prob
from gm_jax.losses import soft_free_bits
from gm_jax.losses.free_bits import free_bits
from gm_jax.losses.kl_warm_up import kl_warm_up
from gm_jax.methods.conditional_pixelcnn import ConditionalPixelCNN
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks.local_pixelcnn import LocalPixelCNN
from gm_jax.networks.pixelcnn import ConditionStream, PixelCNN
from gm_jax.networks.top_down_vae import Decoder, Decoding, Encoder
from gm_jax.networks.vector_flow import vector_flow
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array


class PixelVae(ConditionalPixelCNN):
    """One player, whose loss is minus the evidence lower bound, with a KL that is kept alive.

    The vector's prior is N(0, I), or that noise through an autoregressive flow (`model.prior`;
    Chen et al., Eq. 11).
    """

    likelihood = "bound"
    channels = (1, 3)

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        shared = {"num_latents": model.map_latents, "num_classes": None, **model.vae}
        shared["dtype"] = self.dtype
        height, width, _ = self.image_shape
        shape = (height, width, model.condition.features)  # of f(z)
        self.encoder = Encoder(**shared)
        self.decoder = Decoder(image_shape=shape, init_log_std=None, **shared, **model.decoder)
        self.prior = vector_flow(**model.prior) if model.prior.length else None
        sizes = {"dtype": self.dtype, **model.pixelcnn}
        window = tuple(model.window)
        condition = ConditionStream(
            layer_features=model.pixelcnn.features,
            num_scales=model.pixelcnn.num_scales,
            num_blocks=model.pixelcnn.num_blocks,
            num_streams=1 if window else 2,
            dtype=self.dtype,
            **model.condition,
        )
        self.set_decoder(
            condition, LocalPixelCNN(window=window, **sizes) if window else PixelCNN(**sizes)
        )
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player("model", tuple(self.modules), optimizer, self.loss),)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the networks on data; at first f(z) adds zero to the PixelCNN."""
        keys, (latents, dropout) = jax.random.split(key, 5), noise.split()
        x = self.scale(batch["image"])
        evidences, encoder = data_dependent_init(self.encoder, keys[0], x)
        decoding, decoder = data_dependent_init(self.decoder, keys[1], evidences, latents)
        conditions, condition = data_dependent_init(self.condition, keys[2], decoding.mean)
        arguments: tuple[Any, ...] = (keys[3], x, noise.index, conditions)
        rngs = {"dropout": dropout.key}
        _, pixelcnn = data_dependent_init(self.pixelcnn, *arguments, rngs=rngs, train=True)
        variables: Variables = {"encoder": encoder, "decoder": decoder}
        variables |= {"condition": condition, "pixelcnn": pixelcnn}
        if self.model.soft_free_bits > 0:
            weights = soft_free_bits.start(len(decoding.latents))
            variables["encoder"] = {**encoder, soft_free_bits.COLLECTION: weights}
        if self.prior is not None:
            z = decoding.latents[0][:, 0, 0]
            variables["prior"] = self.prior.init(
                keys[4], z, Context(False), method="forward_and_log_det"
            )
        return variables

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln p(x | z) + λ(step)·Σ_l max(floor, γ_l·KL_l), in nats per image.

        γ_l, the soft free bits' weight of a layer, is 1 without these.
        """
        latents, dropout = noise.split()
        x = self.scale(batch["image"])
        sketch = self.encoded(variables, x, latents)
        log_prob = self.autoregressive_log_prob(variables, x, sketch.mean, dropout, True)
        kl, model, weighted, statistics = jnp.sum(sketch.kl, 1), self.model, sketch.kl, None
        target, rate = model.soft_free_bits, model.soft_rate
        if target > 0:
            own = variables["encoder"][soft_free_bits.COLLECTION]
            weighted = own["weight"] * sketch.kl
            own = soft_free_bits.follow(own, sketch.kl, target, rate)
            statistics = {"encoder": {soft_free_bits.COLLECTION: own}}
        weighted = free_bits(weighted, model.free_bits)
        weight = kl_warm_up(step, model.kl_start, model.kl_annealing_steps)
        terms = {"autoregressive": -log_prob, "regularization": weight * weighted}
        curves = {f"kl_{layer}": sketch.kl[:, layer] for layer in range(sketch.kl.shape[1])}
        curves |= {"kl": kl, "bits_per_dim": self.bits(log_prob - kl)}
        return Loss(terms, curves, statistics)

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """One-sample bound, `log_likelihood` = `autoregressive` − `kl`: weight 1, no free bits."""
        x = self.scale(batch["image"])
        sketch = self.encoded(variables, x, noise)
        log_prob = self.autoregressive_log_prob(variables, x, sketch.mean, noise, False)
        kl = jnp.sum(sketch.kl, 1)
        return {"log_likelihood": log_prob - kl, "autoregressive": log_prob, "kl": kl}

    def encoded(self, variables: Variables, x: Array, noise: Noise) -> Decoding:
        """Latents drawn from the posterior, their KL [B, layers] by that draw, and f(z)."""
        params = {"params": variables["encoder"]["params"]}
        decoding = self._decoded(variables, self.encoder.apply(params, x), noise, None)
        if self.prior is None:
            return decoding
        z = decoding.latents[0][:, 0, 0]
        arguments = (variables["prior"], z, Context(False))
        log_prior, _ = cast(Any, self.prior.apply(*arguments, method="log_prob"))
        change = normal_log_prob(z) - log_prior
        return decoding._replace(kl=decoding.kl.at[:, 0].add(change))

    def sketch(
        self, variables: Variables, noise: Noise, latents: Any, temperature: float = 1.0
    ) -> Decoding:
        """f(z) of the given latents; those that are None, or all, are drawn from the prior."""
        if self.prior is not None and (latents is None or latents[0] is None):
            drawn = self._decoded(variables, None, noise, None, temperature).latents
            start = drawn[0][:, 0, 0]
            arguments = (variables["prior"], start, Context(False))
            z, _ = cast(Any, self.prior.apply(*arguments, method="inverse_and_log_det"))
            below = [None] * len(drawn[1:]) if latents is None else latents[1:]
            latents = [z[:, None, None], *below]
        return self._decoded(variables, None, noise, latents, temperature)

    def _decoded(
        self,
        variables: Variables,
        evidences: Any,
        noise: Noise,
        latents: Any,
        temperature: float = 1.0,
    ) -> Decoding:
        arguments = (evidences, noise, None, latents, temperature)
        return cast(Decoding, self.decoder.apply(variables["decoder"], *arguments))
