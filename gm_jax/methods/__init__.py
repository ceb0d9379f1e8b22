"""Published algorithms, one a file."""

from typing import Any

from gm_jax.methods.adaptive_density import AdaptiveDensity
from gm_jax.methods.agave import Agave
from gm_jax.methods.classifier import Classifier
from gm_jax.methods.pixelcnn import PixelCNNPlusPlus
from gm_jax.methods.real_nvp import RealNvp
from gm_jax.methods.vae_iaf import VaeIaf

METHODS = {
    "adaptive_density": AdaptiveDensity,
    "agave": Agave,
    "classifier": Classifier,
    "pixelcnn": PixelCNNPlusPlus,
    "real_nvp": RealNvp,
    "vae_iaf": VaeIaf,
}


def create(
    config: Any, image_shape: tuple[int, int, int], levels: int, num_classes: int | None
) -> Any:
    """Builds the method that a config names for images of a shape, levels and classes."""
    if config.method not in METHODS:
        raise ValueError(f"unknown method '{config.method}'; choose among {', '.join(METHODS)}")
    return METHODS[config.method](config, image_shape, levels, num_classes)
