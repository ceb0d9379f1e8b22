"""Flows trained by their likelihood: NICE, Glow, i-ResNet, and other bijections onto N(0, I).

An invertible network f maps data to features with a standard normal prior; a change of variables
gives the density, ln p(x) = ln N(f(x); 0, I) + ln|det ∂f/∂x| (thesis, Eq. 2.24). The page names the
network; a flow that wants more than its likelihood is a subclass, as `RealNvp`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import jax

from gm_jax import optimizers
from gm_jax.data.fields import DataSpec, main_field
from gm_jax.flows.dequantise import Dequantise
from gm_jax.flows.transform import Chain, Context, Transform
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks.flow_plus_plus import dequantiser, flow_plus_plus
from gm_jax.networks.glow import glow
from gm_jax.networks.nice import nice
from gm_jax.networks.residual import i_resnet, residual_flow
from gm_jax.networks.vector_flow import LAYERS as VECTOR_LAYERS
from gm_jax.networks.vector_flow import NETWORKS as VECTOR_NETWORKS
from gm_jax.networks.vector_flow import vector_density
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array
# {kind: (shape of an example, dtype of products, the other fields of model.network) -> the flow}
NETWORKS: dict[str, Callable[..., Transform]] = {
    "glow": glow,
    "i_resnet": i_resnet,
    "nice": nice,
    "residual": residual_flow,
    "flow_plus_plus": flow_plus_plus,
    **{kind: partial(vector_density, kind) for kind in (*VECTOR_LAYERS, *VECTOR_NETWORKS)},
}
_DROPOUT = 0x64726F70  # the number of its noise's layer


class Flow(Method):
    """One player, whose loss is −ln p(x), of images or of points.

    Images are dequantised: the density is that of the dequantised images, and bounds the
    probability of the discrete ones from below. The density of points is exact, unless a layer's is
    not. That of residual layers may be an estimate: its mean is what the others compute, its spread
    over examples contains the noise of the estimate, and so does the standard error of a mean.

    Attributes:
      network_name: names the player, and its network among the parameters.
      field: what it models, `image` or `point`.
      flow: the bijection, from levels or points to features of the same shape.
    """

    needs: tuple[str, ...] = ()
    likelihood: Literal["exact", "bound", "estimate", "bracketed"] | None = "bound"
    network_name: ClassVar[str] = "flow"

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        self.field = main_field(data)
        if self.field == "tokens":
            raise ValueError(f"data.source '{config.data.source}' has tokens; flows are of images")
        if self.field == "image" and self.levels < 2:
            raise ValueError(
                f"an invertible network asked for a data set with a single level (levels = "
                f"{self.levels}): its images are all alike and have no density; give data.source "
                "images of 2 to 256 levels"
            )
        self.flow = self.create_flow()
        self.likelihood = self.flow.likelihood
        self.players = self.create_players()

    def create_players(self) -> tuple[Player, ...]:
        """The player of the likelihood."""
        optimizer = optimizers.create(self.config.optimizer)
        return (Player(self.network_name, self.networks, optimizer, self.loss),)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that the player moves."""
        return (self.network_name,)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an example and of its features."""
        return self.data[self.field].shape

    def create_flow(self) -> Transform:
        """The network that the page names, behind a dequantiser if the data are images."""
        settings = dict(self.model.network)
        kind = settings.pop("kind")
        if kind not in NETWORKS:
            raise ValueError(f"model.network.kind is '{kind}'; choose among {', '.join(NETWORKS)}")
        network = NETWORKS[kind](self.shape, dtype=self.dtype, **settings)
        if self.field != "image":
            return network
        low, high = self.model.interval
        if not low < high:
            raise ValueError(f"model.interval is ({low}, {high}); give its lower end first")
        if settings.get("logit_margin") is not None and not 0 <= low < high <= 1:
            raise ValueError(
                f"model.interval is ({low}, {high}), but the logit of model.network.kind '{kind}' "
                "takes images in [0, 1]; give model.interval=(0.0, 1.0)"
            )
        return Chain((self.create_dequantiser(), network))

    def create_dequantiser(self) -> Transform:
        """The layer from levels to `model.interval` that the page names."""
        settings, interval = dict(self.model.dequantisation), tuple(self.model.interval)
        kind = settings.pop("kind")
        if kind == "uniform":
            return Dequantise(self.levels, interval)
        if kind == "variational":
            return dequantiser(self.levels, interval, dtype=self.dtype, **settings)
        raise ValueError(
            f"model.dequantisation.kind is '{kind}'; choose among uniform, variational"
        )

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the layers, those with actnorm on the examples of `batch`."""
        context = Context(True, noise)
        _, variables = data_dependent_init(
            self.flow,
            key,
            batch[self.field],
            context,
            rngs=_rngs(context),
            method="forward_and_log_det",
        )
        return {self.network_name: variables}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln p(x), in nats per example."""
        kinds = [kind for kind in variables[self.network_name] if kind != "params"]
        (log_prob, parts), statistics = self._apply(
            "log_prob", variables, batch[self.field], Context(True, noise), mutable=kinds
        )
        curves = {"bits_per_dim": self.bits(log_prob)} if self.field == "image" else {}
        return Loss(
            {name: -part for name, part in parts.items()},
            curves,
            {self.network_name: statistics} if kinds else {},
        )

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """For images it is a bound of one sample, the dequantisation noise, or its estimate.

        Returns:
          `log_likelihood` = `prior`, ln N(f(x); 0, I), + `log_det`, ln|det| of the map from levels
          or points to features, which contains that of the dequantiser.
        """
        context = Context(False, noise)
        log_prob, parts = self._apply("log_prob", variables, batch[self.field], context)
        return {"log_likelihood": log_prob, **parts}

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws features from the prior and inverts them to `image` or `point`."""
        return self.decode(variables, self.sample_latents(variables, noise, temperature), noise)

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Array:
        """Draws features from N(0, T²·I), at every scale.

        x = f⁻¹(z) then has a density proportional to p(x)^(1/T²) (tutorial, Eqs. 10–12, with
        τ = T²) exactly if ln|det ∂f/∂x| is the same for all x. It is for additive couplings, but a
        learned prior of a split is a layer of f, so its σ must not depend on the other half either:
        true of NICE and of additive Glow with one scale. With affine couplings or several scales
        T < 1 draws likelier features, and is only a way to draw.
        """
        return temperature * noise.normal(*self.shape)

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Array:
        """Maps points or dequantised images to features, float32, in the shape of the data."""
        context = Context(False, noise)
        return self._apply("forward_and_log_det", variables, batch[self.field], context)[0]

    def decode(
        self, variables: Variables, latents: Array, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Maps features to `image` or `point`; no noise changes them."""
        self.check_labels(labels)
        context = Context(False, noise)  # a residual layer estimates log-determinants, unused here
        return {self.field: self._apply("inverse_and_log_det", variables, latents, context)[0]}

    def _apply(
        self, function: str, variables: Variables, x: Array, context: Context, **mutable: Any
    ) -> Any:
        own = variables[self.network_name]
        return self.flow.apply(own, x, context, method=function, rngs=_rngs(context), **mutable)


def _rngs(context: Context) -> dict[str, Array] | None:
    """The keys of a network's dropout, which only training has."""
    if context.noise is None:
        return None
    return {"dropout": context.noise.layer(_DROPOUT).key}
