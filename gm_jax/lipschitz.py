"""Control of a critic's slope, chosen in the config independently of its loss."""

import dataclasses
from typing import Any, Self

import optax

from gm_jax import optimizers
from gm_jax.nn import layers, spectral_norm

CONTROLS = ("none", "clipping", "penalty", "spectral_norm")


@dataclasses.dataclass(frozen=True)
class Lipschitz:
    """How a critic's slope is controlled; the fields of the other controls are unused.

    Attributes:
      control: one of CONTROLS.
      gradient_penalty: weight of (‖∇D‖₂ − 1)² with `penalty` (Gulrajani et al., 2017); 0 omits it.
      weight_clip: c of the box [−c, c] in which `clipping` keeps each parameter (Arjovsky et
        al., 2017). The box bounds a layer's σ only by c·√(inputs · outputs).
      spectral_norm: the σ by which `spectral_norm` divides weights, one of
        `nn.spectral_norm.KINDS`.
    """

    control: str
    gradient_penalty: float
    weight_clip: float
    spectral_norm: str

    @classmethod
    def create(cls, model: Any) -> Self:
        """Reads `lipschitz` and the fields of the controls from a config's section `model`."""
        return cls(model.lipschitz, model.gradient_penalty, model.weight_clip, model.spectral_norm)

    def __post_init__(self) -> None:
        if self.control not in CONTROLS:
            raise ValueError(
                f"model.lipschitz is '{self.control}'; choose among {', '.join(CONTROLS)}"
            )
        if self.spectral_norm not in spectral_norm.KINDS:
            raise ValueError(
                f"model.spectral_norm is '{self.spectral_norm}'; choose among "
                f"{', '.join(spectral_norm.KINDS)}"
            )

    @property
    def penalty_weight(self) -> float:
        """The weight of the gradient penalty in the critic's loss."""
        return self.gradient_penalty if self.control == "penalty" else 0.0

    @property
    def layers(self) -> layers.Layers:
        """The kind of layers that the critic uses."""
        if self.control == "spectral_norm":
            return layers.spectral_norm(self.spectral_norm)
        return layers.PLAIN

    def constrain(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        """Wraps the critic's optimizer so that its updates satisfy the constraint."""
        if self.control == "clipping":
            return optax.chain(optimizer, optimizers.clip_parameters(self.weight_clip))
        return optimizer
