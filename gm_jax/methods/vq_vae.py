"""VQ-VAE, an auto-encoder whose latents are codes (van den Oord et al., 2017; thesis 2.10.5).

The encoder's output z_e at each place becomes the nearest vector e of a codebook, z_q, and its
number is the code. p(x | z_q) is a decoder. A prior of codes is trained afterwards
(`methods/code_prior.py`); here they are uniform.
"""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax import choices, optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.methods.method import Batch, Choose, Loss, Method, Noise, Player, Variables
from gm_jax.methods.pixelwise_decoder import PixelwiseDecoder
from gm_jax.networks.vq_vae import Decoder, Encoder
from gm_jax.nn import codebook

Array = jax.Array


class VqVae(PixelwiseDecoder):
    """One player, whose loss is Eq. 2.71 with ln p of the right sign, and a codebook of means.

    Bits/dim are those of a code in two parts, the codes and the image given them: one term of
    p(x) = Σ_z p(x | z) p(z), so a bound.
    """

    likelihood = "bound"

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        self.num_codes = model.codebook.num_codes
        network = {**model.network, "dtype": self.dtype}
        self.encoder = Encoder(model.codebook.features, **network)
        self.decoder = self.create_decoder(Decoder(self.num_outputs, **network))
        height, width, _ = self.image_shape
        factor = 2**model.network.num_halvings
        self.code_shape = (height // factor, width // factor)
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player("model", ("encoder", "decoder"), optimizer, self.loss),)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Draws the parameters, and starts the codebook at outputs of the encoder."""
        encoder_key, decoder_key, codes_key = jax.random.split(key, 3)
        outputs, encoder = self.encoder.init_with_output(encoder_key, self.scale(batch["image"]))
        return {
            "encoder": {
                **encoder,
                codebook.COLLECTION: codebook.start(outputs, self.num_codes, codes_key),
            },
            "decoder": self.decoder.init(decoder_key, outputs),
        }

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln p(x | z_q) + β‖z_e − sg(z_q)‖², in nats per image, the square summed over places.

        The gradient passes from z_q to z_e as if they were equal. The paper averages the square
        over the places, and its code over their values as well, as well as ln p's over the pixels.
        """
        options, book = self.model.codebook, variables["encoder"][codebook.COLLECTION]
        outputs = self._outputs(variables, batch)
        codes = codebook.nearest(book, outputs)
        vectors = codebook.embed(book, codes)
        log_prob = self.log_prob_given(variables, batch, straight_through(outputs, vectors), noise)
        distance = jnp.sum(jnp.square(outputs - jax.lax.stop_gradient(vectors)), (1, 2, 3))
        book = codebook.follow(
            book, outputs, codes, options.decay, options.reset_share, noise.shared()
        )
        terms = {"reconstruction": -log_prob, "commitment": self.model.commitment_weight * distance}
        curves = {
            "perplexity": codebook.perplexity(book["usage"]),
            "bits_per_dim": self.bits(log_prob - self._code_nats()),
        }
        return Loss(terms, curves, {"encoder": {codebook.COLLECTION: book}})

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """The code in two parts: `log_likelihood` = `reconstruction` − `codes`, nats.

        `codes` is −ln p of the codes, which are uniform: ln K each.
        """
        codes = self.encode(variables, batch, noise)
        log_prob = self.conditional_log_prob(variables, batch, codes, noise)
        of_codes = jnp.full_like(log_prob, self._code_nats())
        return {
            "log_likelihood": log_prob - of_codes,
            "reconstruction": log_prob,
            "codes": of_codes,
        }

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Array:
        """The codes of images, int32 [B, h, w] in 0..K−1; nothing is drawn."""
        book = variables["encoder"][codebook.COLLECTION]
        return codebook.nearest(book, self._outputs(variables, batch))

    def embedded(self, variables: Variables, latents: Any) -> Array:
        """The vectors of codes int32 [B, h, w], float32 [B, h, w, D]."""
        return codebook.embed(variables["encoder"][codebook.COLLECTION], latents)

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Array:
        """Draws codes, all equally likely at every temperature, int32 [B, h, w]."""
        drawn = jnp.floor(self.num_codes * noise.uniform(*self.code_shape))
        return jnp.minimum(drawn.astype(jnp.int32), self.num_codes - 1)

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws codes, then `image` given them, around the means `f_z`."""
        latents, pixels = noise.split()
        codes = self.sample_latents(variables, latents, temperature)
        return self.images(variables, codes, pixels, temperature)

    def code_latents(
        self, variables: Variables, image: Array, latents: Any, choose: Choose
    ) -> Array:
        """The codes, int32 [B, h, w]; nothing is chosen."""
        return codebook.nearest(
            variables["encoder"][codebook.COLLECTION], self._outputs(variables, {"image": image})
        )

    def code_image(
        self, variables: Variables, latents: Any, image: Array, choose: Choose
    ) -> tuple[Array, Array]:
        """Chooses the codes, equally likely, and then all pixels."""
        shape = (len(image), *self.code_shape)
        codes = choose(choices.uniform_masses(shape, self.num_codes), latents)
        return codes, self.image_chosen(variables, self.embedded(variables, codes), image, choose)

    def check_latents(self, latents: Any) -> None:
        """ValueError for what are no codes [N, h, w]."""
        codes = np.asarray(latents)
        fits = codes.shape[1:] == self.code_shape and np.issubdtype(codes.dtype, np.integer)
        if not fits or (codes.size and not 0 <= codes.min() <= codes.max() < self.num_codes):
            raise ValueError(
                f"latents of shape {codes.shape} and {codes.dtype}: give integers of shape "
                f"{('N', *self.code_shape)} from 0 to {self.num_codes - 1}"
            )

    def interpolate(self, start: Any, end: Any, weights: np.ndarray) -> np.ndarray:
        """The codes of the start change to those of the end, place by place in raster order."""
        rank = np.linspace(0, 1, math.prod(self.code_shape), endpoint=False)
        changed = weights[:, None, None] > rank.reshape(1, *self.code_shape)
        return np.where(changed, end, start)

    def _outputs(self, variables: Variables, batch: Batch) -> Array:
        """z_e, float32 [B, h, w, D]."""
        params = {"params": variables["encoder"]["params"]}
        return cast(Array, self.encoder.apply(params, self.scale(batch["image"])))

    def _code_nats(self) -> float:
        """−ln p of an image's codes, uniform: h·w·ln K."""
        return math.prod(self.code_shape) * math.log(self.num_codes)


def straight_through(outputs: Array, vectors: Array) -> Array:
    """The vectors, with the gradient that they get given to the outputs."""
    return outputs + jax.lax.stop_gradient(vectors - outputs)
