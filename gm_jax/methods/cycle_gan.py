"""CycleGAN: translation between two domains of unpaired examples (Zhu et al., 2017).

One generator maps domain a to b, another b to a, and each domain has a critic (Eq. 1, with least
squares, section 4). What is translated and back again is to be what it was (Eq. 2), and what is in
the domain already is to stay (section 5.2). Nothing else says which example belongs to which.
"""

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax.data.fields import DIRECTIONS, DOMAINS, DataSpec, main_field
from gm_jax.losses.adversarial import least_squares, least_squares_generator
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks.cycle_gan import Generator, PatchCritic
from gm_jax.networks.mlp import Mlp
from gm_jax.nn import pool

Array = jax.Array
BACK = {"a_to_b": "b_to_a", "b_to_a": "a_to_b"}
CRITICS = {domain: f"critic_{domain}" for domain in DOMAINS}


def mean_of_each(x: Array) -> Array:
    """The mean over all axes but the first: [B, ...] to [B]."""
    return jnp.mean(x.reshape(len(x), -1), 1)


def l1(x: Array, y: Array) -> Array:
    """The mean of |x − y| over the values of each example, [B]."""
    return mean_of_each(jnp.abs(x - y))


class CycleGan(Method):
    """Both generators and both critics move at once, each pair by one Adam.

    So it is in the authors' code: the generators meet the critics of before, and the critics what
    the generators of before have made. Points in place of images take multilayer perceptrons. There
    are no latents: a translation draws nothing. So, as in the code, images are not dequantised:
    a generator could not make the noise.
    """

    needs = ()  # images or points, of two domains

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        self.main = main_field(data)
        self._check_domains()
        self.fields = {domain: data[self.main + suffix] for domain, suffix in DOMAINS.items()}
        self._check_shapes()
        self.a_to_b, self.b_to_a = self.create_generator("b"), self.create_generator("a")
        self.critic_a, self.critic_b = self.create_critic(), self.create_critic()
        generators, critics = (
            Player(name, networks, optimizers.create(config.optimizer, player=name), loss)
            for name, networks, loss in (
                ("generators", (*DIRECTIONS,), self.generators_loss),
                ("critics", (*CRITICS.values(),), self.critics_loss),
            )
        )
        self.players = ((generators, critics),)

    def _check_domains(self) -> None:
        source, variant = self.config.data.source, self.config.variant
        if self.main + DOMAINS["b"] not in self.data:
            raise ValueError(
                f"data.source '{source}' has one domain, and CycleGan translates between two: give "
                "data.source=pair:SOURCE_A|SOURCE_B"
            )
        for_images = "num_blocks" in self.model.generator
        if (self.main == "image") != for_images:
            raise ValueError(
                f"data.source '{source}' has {self.main}s, but the networks of variant '{variant}' "
                f"are for {'images' if for_images else 'points'}: choose another data.source or "
                "variant"
            )

    def _check_shapes(self) -> None:
        shapes = [self.fields[domain].shape for domain in DOMAINS]
        named = " and ".join("×".join(map(str, shape)) for shape in shapes)
        if self.main == "image" and shapes[0][:2] != shapes[1][:2]:
            raise ValueError(f"images of {named}: both domains have the same size; set data.resize")
        if self.model.identity_weight and shapes[0] != shapes[1]:
            raise ValueError(
                f"model.identity_weight is {self.model.identity_weight}, but {self.main}s of "
                f"{named} differ in channels, so none is in both domains; set it to 0"
            )

    def create_generator(self, domain: str) -> nn.Module:
        """The network that makes examples of a domain."""
        shape, options = self.fields[domain].shape, self.model.generator
        if self.main == "image":
            return Generator(shape[-1], dtype=self.dtype, **options)
        return Mlp(outputs=shape[0], dtype=self.dtype, **options)

    def create_critic(self) -> nn.Module:
        """The network that judges examples."""
        options = self.model.critic
        if self.main == "image":
            return PatchCritic(dtype=self.dtype, **options)
        return Mlp(outputs=None, dtype=self.dtype, **options)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the networks, and an empty pool for each critic."""
        keys, real = iter(jax.random.split(key, 4)), self.domains(batch)
        variables: Variables = {
            direction: self.modules[direction].init(next(keys), real[source])
            for direction, (source, _) in DIRECTIONS.items()
        }
        for domain, critic in CRITICS.items():
            past = pool.empty(self.model.pool_size, self.fields[domain].shape)
            made = self.modules[critic].init(next(keys), real[domain])
            variables[critic] = {**made, pool.COLLECTION: past}
        return variables

    def domains(self, batch: Batch) -> dict[str, Array]:
        """{domain: its examples [B, ...]}, images in [−1, 1]."""
        return {
            domain: self.unit(batch[self.main + suffix], domain)
            for domain, suffix in DOMAINS.items()
        }

    def unit(self, x: Array, domain: str) -> Array:
        """Images of a domain in [−1, 1], or points as they are."""
        levels = self.fields[domain].levels
        return x if levels is None else distributions.scale_to_unit(x, levels)

    def whole(self, x: Array, domain: str) -> Array:
        """Images in [−1, 1] as uint8 in the domain's levels, or points as they are."""
        levels = self.fields[domain].levels
        return x if levels is None else distributions.quantize(x, levels)

    def mapped(self, variables: Variables, direction: str, x: Array) -> Array:
        """Translates examples [B, ...]."""
        return cast(Array, self.modules[direction].apply(variables[direction], x))

    def judged(self, variables: Variables, domain: str, x: Array) -> Array:
        """The critic's numbers for examples: [B, h, w], one a patch, or [B] for points."""
        critic = CRITICS[domain]
        return cast(Array, self.modules[critic].apply(variables[critic], x))

    def generators_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """(D(G(x)) − 1)², the weighted cycles (Eqs. 2 and 3) and identities, in both directions."""
        real, weight, terms = self.domains(batch), self.model.identity_weight, {}
        for direction, (source, target) in DIRECTIONS.items():
            given = [real[source], real[target]] if weight else [real[source]]
            # One pass serves both, as no layer sees more than one example.
            mapped = self.mapped(variables, direction, jnp.concatenate(given))
            made, *same = jnp.split(mapped, len(given))
            back = self.mapped(variables, BACK[direction], made)
            # The paper's least squares have no ½ here, and one for the critic (section 4).
            square = 2 * least_squares_generator(self.judged(variables, target, made))
            terms[f"adversarial_{target}"] = mean_of_each(square)
            terms[f"cycle_{source}"] = self.model.cycle_weight * l1(back, real[source])
            if same:
                terms[f"identity_{target}"] = weight * l1(same[0], real[target])
        return Loss(terms)

    def critics_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """½(D(y) − 1)² + ½D(ỹ)² in both domains, ỹ from the domain's pool (section 4)."""
        real, terms, statistics = self.domains(batch), {}, {}
        own = noise.split()
        for (direction, (source, target)), draws in zip(DIRECTIONS.items(), own, strict=True):
            made, critic = self.mapped(variables, direction, real[source]), CRITICS[target]
            past, seen = pool.exchange(variables[critic][pool.COLLECTION], made, draws.shared())
            judged = self.judged(variables, target, jnp.concatenate([real[target], seen]))
            on_data, on_samples = jnp.split(judged, 2)
            terms[f"least_squares_{target}"] = mean_of_each(least_squares(on_data, on_samples))
            statistics[critic] = {pool.COLLECTION: past}
        return Loss(terms, statistics=statistics)

    def translate(
        self, variables: Variables, batch: Batch, noise: Noise, direction: str
    ) -> dict[str, Array]:
        """The batch in the other domain; the noise is unused."""
        source, target = DIRECTIONS[direction]
        x = self.unit(batch[self.main], source)
        made = self.mapped(variables, direction, x)
        back = self.mapped(variables, BACK[direction], made)
        return {
            self.main: self.whole(made, target),
            "cycle": self.whole(back, source),
            "cycle_error": l1(back, x),
        }
