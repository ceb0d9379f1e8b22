"""One invertible network that models the data and classifies them (Chen et al., 2019; tutorial).

The loss is −λ ln p(x) − ln p(y | x) (tutorial, Eq. 21), in nats. Up to a factor, λ = 1/D weighs the
classification as one dimension, and λ = 0 is a classifier. The network is invertible until a last
linear classifier of the features f(x). That is the tutorial's description; the authors' code has a
small convolutional network at each scale and a linear layer of what they pool.
"""

from typing import Any, cast

import flax.linen as nn
import jax

from gm_jax.data.fields import DataSpec
from gm_jax.flows.transform import Context, normal_log_prob
from gm_jax.methods.classifier import judge
from gm_jax.methods.flow import Flow
from gm_jax.methods.method import Batch, Loss, Method, Noise, Variables

Array = jax.Array
CLASSIFIER = "classifier"


class Hybrid(Flow):
    """A flow whose player also moves the classifier; `model.likelihood_weight` is λ."""

    needs = ("label",)
    validation_score = "objective"

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        num_classes = data["label"].num_classes
        assert num_classes is not None  # labels have classes
        self.classifier = nn.Dense(num_classes, precision="highest")

    @property
    def networks(self) -> tuple[str, ...]:
        """The flow and the classifier."""
        return (*super().networks, CLASSIFIER)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the flow as `Flow` does, and the classifier."""
        features = batch[self.field].reshape(len(batch["label"]), -1)
        classifier = self.classifier.init(jax.random.fold_in(key, 1), features)
        return {**super().init_networks(key, batch, noise), CLASSIFIER: classifier}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−λ ln p(x) − ln p(y | x), in nats per example; λ = 0 computes no likelihood."""
        kinds = [kind for kind in variables[self.network_name] if kind != "params"]
        mapped, statistics = self._apply(
            "forward_and_log_det",
            variables,
            batch[self.field],
            Context(True, noise),
            mutable=kinds,
        )
        terms = self._terms(variables, batch, *mapped)
        curves = {"error": terms.pop("error")}
        if self.model.likelihood_weight and self.field == "image":
            curves["bits_per_dim"] = self.bits(terms["prior"] + terms["log_det"])
        return Loss(self._weighted(terms), curves, {self.network_name: statistics} if kinds else {})

    def score(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """`error`, 0 or 1, `cross_entropy` and `objective`, the loss of an example, in nats."""
        if "label" not in batch:
            raise ValueError("these images have no labels: a classifier cannot be judged on them")
        context = Context(False, noise)
        mapped = self._apply("forward_and_log_det", variables, batch[self.field], context)
        terms = self._terms(variables, batch, *mapped)
        error = terms.pop("error")
        return {
            "error": error,
            "cross_entropy": terms["cross_entropy"],
            "objective": sum(self._weighted(terms).values(), 0 * error),
        }

    def _terms(
        self, variables: Variables, batch: Batch, features: Array, log_det: Array
    ) -> dict[str, Array]:
        """ln N(f(x); 0, I), ln|det|, cross-entropy and error, [B] each."""
        flat = features.reshape(features.shape[0], -1)
        logits = cast(Array, self.classifier.apply(variables[CLASSIFIER], flat))
        of_labels = judge(logits, batch["label"])
        return {"prior": normal_log_prob(features), "log_det": log_det, **of_labels}

    def _weighted(self, terms: dict[str, Array]) -> dict[str, Array]:
        """The terms of the loss."""
        weight = self.model.likelihood_weight
        density = {name: -weight * terms[name] for name in ("prior", "log_det")}
        return {**(density if weight else {}), "cross_entropy": terms["cross_entropy"]}
