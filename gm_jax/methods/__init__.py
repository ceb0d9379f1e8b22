"""Published algorithms, one a file; what each offers is `contract.Method`."""

from typing import Any

from gm_jax.methods.adaptive_density import AdaptiveDensity
from gm_jax.methods.agave import Agave
from gm_jax.methods.classifier import Classifier
from gm_jax.methods.gan import Gan
from gm_jax.methods.gan_likelihood import GanLikelihood
from gm_jax.methods.pixelcnn import PixelCNNPlusPlus
from gm_jax.methods.real_nvp import RealNvp
from gm_jax.methods.vae_iaf import VaeIaf

METHODS = {
    "adaptive_density": AdaptiveDensity,
    "agave": Agave,
    "classifier": Classifier,
    "gan": Gan,
    "gan_likelihood": GanLikelihood,
    "pixelcnn": PixelCNNPlusPlus,
    "real_nvp": RealNvp,
    "vae_iaf": VaeIaf,
}


def create(
    config: Any,
    image_shape: tuple[int, int, int],
    levels: int,
    num_classes: int | None,
    frozen: dict[str, Any] | None = None,
) -> Any:
    """Builds the method that a config names for images of a shape, levels and classes.

    Args:
      frozen: {name: method} of the trained models that stand within it (`training.frozen`).
    """
    if config.method not in METHODS:
        raise ValueError(f"unknown method '{config.method}'; choose among {', '.join(METHODS)}")
    arguments = (config, image_shape, levels, num_classes)
    return (
        METHODS[config.method](*arguments, frozen) if frozen else METHODS[config.method](*arguments)
    )
