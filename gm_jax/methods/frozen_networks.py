"""Networks of another run's model that stay fixed among those of a method."""

from typing import Any, NamedTuple

import jax

from gm_jax import state as train_state
from gm_jax.methods.method import Batch, Method, Variables


class FrozenNetworks(NamedTuple):
    """Some networks of a trained model.

    Attributes:
      name: of the model in the config's section `frozen`; it marks the networks' names here.
      method: the model.
      networks: the names that the networks have there.
    """

    name: str
    method: Method
    networks: tuple[str, ...]

    def start(self, key: jax.Array, batch: Batch, pretrained: dict[str, Any] | None) -> Variables:
        """The networks' variables, under the names that they have here.

        Args:
          key, batch: for an untrained model, which suffices for the shapes of a checkpoint.
          pretrained: {`name`: variables}, the trained run's {network: {collection: tree}}; None
            takes an untrained model.
        """
        if pretrained is None:
            pretrained = {self.name: train_state.evaluation_variables(self.method.init(key, batch))}
        return {self._here(each): pretrained[self.name][each] for each in self.networks}

    def of(self, variables: Variables) -> Variables:
        """The networks' variables under the names that they have in their model."""
        return {each: variables[self._here(each)] for each in self.networks}

    def _here(self, network: str) -> str:
        return f"{self.name}_{network}"
