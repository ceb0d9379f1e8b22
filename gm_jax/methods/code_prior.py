"""The prior of a VQ-VAE's codes, with which it generates (van den Oord et al., 2017).

A PixelCNN models the codes of a frozen VQ-VAE, place by place in raster order. The bound on ln p(x)
is that of the code in two parts: ln p(x | codes) + ln p(codes).
"""

from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.methods.frozen_networks import FrozenNetworks
from gm_jax.methods.method import Batch, Choose, Loss, Method, Noise, Player, Variables
from gm_jax.methods.vq_vae import VqVae
from gm_jax.networks.pixel_distributions import Categorical
from gm_jax.networks.pixelcnn import PixelCNN
from gm_jax.networks.pixelcnn_sampling import Sampler
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array
NETWORKS = ("encoder", "decoder")  # of the quantiser


class CodePrior(Method):
    """One player, whose loss is −ln p(codes); codes are one-hot to the network.

    It computes codes from images, so that images are scored and drawn by this run alone.
    """

    likelihood = "bound"

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        quantiser = (frozen or {}).get("quantiser")
        if quantiser is None:
            raise ValueError(
                "frozen.quantiser is empty; give the work directory of a trained run, as in "
                "--config.frozen.quantiser=runs/vq_vae-digits"
            )
        if not isinstance(quantiser, VqVae):
            raise ValueError(
                f"frozen.quantiser={config.frozen.quantiser}: {type(quantiser).__name__} gives no "
                "codes; give a run of configs/vq_vae.py"
            )
        self.quantiser, self.num_codes = quantiser, quantiser.num_codes
        self.frozen = FrozenNetworks("quantiser", quantiser, NETWORKS)
        self.pixelcnn = PixelCNN(num_mixtures=0, dtype=self.dtype, **config.model.pixelcnn)
        self.code_shape = (*quantiser.code_shape, self.num_codes)
        self.pixels = Categorical()
        sampler = config.sample.sampler
        self.sampler = Sampler(sampler, self.pixelcnn, self.code_shape, self.pixels)
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player("prior", ("pixelcnn",), optimizer, self.loss),)

    def init_networks(
        self, key: Array, batch: Batch, noise: Noise, pretrained: dict[str, Any] | None = None
    ) -> Variables:
        """Initialises the prior on the codes of data.

        Args:
          pretrained: as for `FrozenNetworks.start`.
        """
        prior_key, quantiser_key = jax.random.split(key)
        given = self.frozen.start(quantiser_key, batch, pretrained)
        encoding, dropout = noise.split()
        codes = self._one_hot(self.encode(given, batch, encoding))
        _, prior = data_dependent_init(
            self.pixelcnn, prior_key, codes, noise.index, rngs={"dropout": dropout.key}, train=True
        )
        return {**given, "pixelcnn": prior}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln p(codes) in nats, with dropout."""
        encoding, dropout = noise.split()
        codes = self.encode(variables, batch, encoding)
        log_prob = self.log_prob(variables, codes, dropout, train=True)
        each = self.quantiser.code_shape[0] * self.quantiser.code_shape[1]
        return Loss({"codes": -log_prob}, {"nats_per_code": -log_prob / each})

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """The code in two parts: `log_likelihood` = `reconstruction` − `codes`, in nats."""
        codes = self.encode(variables, batch, noise)
        reconstruction = self.conditional_log_prob(variables, batch, codes, noise)
        of_codes = -self.log_prob(variables, codes, noise, train=False)
        return {
            "log_likelihood": reconstruction - of_codes,
            "reconstruction": reconstruction,
            "codes": of_codes,
        }

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Array:
        """The codes of images, int32 [B, h, w]."""
        return self.quantiser.encode(self.frozen.of(variables), batch, noise)

    def decode(
        self, variables: Variables, latents: Any, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Draws `image` around the means `f_z`."""
        return self.quantiser.decode(self.frozen.of(variables), latents, noise, labels)

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Array:
        """Draws codes from the prior, int32 [B, h, w]; the temperature divides the logits."""
        drawn = self.sampler(variables["pixelcnn"], None, noise, temperature)
        return jnp.argmax(drawn, -1).astype(jnp.int32)

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws codes, then `image` given them, around the means `f_z`."""
        latents, pixels = noise.split()
        codes = self.sample_latents(variables, latents, temperature)
        return self.quantiser.images(self.frozen.of(variables), codes, pixels, temperature)

    def conditional_log_prob(
        self, variables: Variables, batch: Batch, latents: Any, noise: Noise
    ) -> Array:
        """ln p(x | codes), in nats [B]."""
        own = self.frozen.of(variables)
        return self.quantiser.conditional_log_prob(own, batch, latents, noise)

    def code_latents(
        self, variables: Variables, image: Array, latents: Any, choose: Choose
    ) -> Array:
        """The codes, int32 [B, h, w]; nothing is chosen."""
        return self.quantiser.code_latents(self.frozen.of(variables), image, latents, choose)

    def code_image(
        self, variables: Variables, latents: Any, image: Array, choose: Choose
    ) -> tuple[Array, Array]:
        """Chooses the codes place by place, and then all pixels."""
        chosen = self.sampler.chosen(variables["pixelcnn"], None, latents[..., None], choose)
        codes, own = jnp.argmax(chosen, -1).astype(jnp.int32), self.frozen.of(variables)
        embedded = self.quantiser.embedded(own, codes)
        return codes, self.quantiser.image_chosen(own, embedded, image, choose)

    def why_not_coded(self) -> str:
        """What the quantiser says."""
        return self.quantiser.why_not_coded()

    def check_latents(self, latents: Any) -> None:
        """ValueError for what are no codes [N, h, w]."""
        self.quantiser.check_latents(latents)

    def interpolate(self, start: Any, end: Any, weights: Any) -> Any:
        """The codes of the start change to those of the end, place by place in raster order."""
        return self.quantiser.interpolate(start, end, weights)

    def log_prob(self, variables: Variables, codes: Array, noise: Noise, train: bool) -> Array:
        """ln p of codes int32 [B, h, w], in nats [B]."""
        x, rngs = self._one_hot(codes), {"dropout": noise.key} if train else None
        logits = self.pixelcnn.apply(variables["pixelcnn"], x, noise.index, train=train, rngs=rngs)
        return self.pixels.log_prob(x, cast(Array, logits))

    def _one_hot(self, codes: Array) -> Array:
        return jax.nn.one_hot(codes, self.num_codes)
