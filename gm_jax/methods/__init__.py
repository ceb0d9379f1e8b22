"""Published algorithms, one a file; what each writes and offers is said by `method.Method`."""

from typing import Any

from gm_jax.data.fields import DataSpec
from gm_jax.methods.adaptive_density import AdaptiveDensity
from gm_jax.methods.agave import Agave
from gm_jax.methods.classifier import Classifier
from gm_jax.methods.gan import Gan
from gm_jax.methods.gan_likelihood import GanLikelihood
from gm_jax.methods.lsgan import Lsgan
from gm_jax.methods.method import Method
from gm_jax.methods.pixelcnn import PixelCNNPlusPlus
from gm_jax.methods.real_nvp import RealNvp
from gm_jax.methods.sngan import Sngan
from gm_jax.methods.vae_iaf import VaeIaf
from gm_jax.methods.wgan_gp import WganGp

METHODS = {
    "adaptive_density": AdaptiveDensity,
    "agave": Agave,
    "classifier": Classifier,
    "gan": Gan,
    "gan_likelihood": GanLikelihood,
    "lsgan": Lsgan,
    "pixelcnn": PixelCNNPlusPlus,
    "real_nvp": RealNvp,
    "sngan": Sngan,
    "vae_iaf": VaeIaf,
    "wgan_gp": WganGp,
}


def create(config: Any, data: DataSpec, frozen: dict[str, Method] | None = None) -> Method:
    """Builds the method that a config names for examples of some fields.

    Args:
      config: a page of `configs/`.
      data: the fields of the examples.
      frozen: {name: method} of the trained models that stand within it (`training.frozen`).
    """
    if config.method not in METHODS:
        raise ValueError(f"unknown method '{config.method}'; choose among {', '.join(METHODS)}")
    return METHODS[config.method](config, data, frozen)
