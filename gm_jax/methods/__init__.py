"""Published algorithms, one per file; `method.Method` documents what each defines and offers."""

from typing import Any

from gm_jax import ranges
from gm_jax.data.fields import DataSpec
from gm_jax.methods.adaptive_density import AdaptiveDensity
from gm_jax.methods.adversarial_autoencoder import AdversarialAutoencoder
from gm_jax.methods.agave import Agave
from gm_jax.methods.age import Age
from gm_jax.methods.alpha_gan import AlphaGan
from gm_jax.methods.bigan import Bigan
from gm_jax.methods.classifier import Classifier
from gm_jax.methods.code_prior import CodePrior
from gm_jax.methods.cycle_gan import CycleGan
from gm_jax.methods.dcgan import Dcgan
from gm_jax.methods.flow import Flow
from gm_jax.methods.flow_gan import FlowGan
from gm_jax.methods.gan import Gan
from gm_jax.methods.gan_likelihood import GanLikelihood
from gm_jax.methods.hybrid import Hybrid
from gm_jax.methods.lsgan import Lsgan
from gm_jax.methods.method import Method
from gm_jax.methods.mixed_batch_gan import MixedBatchGan
from gm_jax.methods.mixup_gan import MixupGan
from gm_jax.methods.pixel_vae import PixelVae
from gm_jax.methods.pixelcnn import PixelCNNPlusPlus
from gm_jax.methods.real_nvp import RealNvp
from gm_jax.methods.sngan import Sngan
from gm_jax.methods.vae import Vae
from gm_jax.methods.vae_gan import VaeGan
from gm_jax.methods.vae_iaf import VaeIaf
from gm_jax.methods.vq_vae import VqVae
from gm_jax.methods.wgan_gp import DcganWganGp, WganGp

METHODS = {
    "adaptive_density": AdaptiveDensity,
    "adversarial_autoencoder": AdversarialAutoencoder,
    "agave": Agave,
    "age": Age,
    "alpha_gan": AlphaGan,
    "bigan": Bigan,
    "classifier": Classifier,
    "code_prior": CodePrior,
    "cycle_gan": CycleGan,
    "dcgan": Dcgan,
    "dcgan_wgan_gp": DcganWganGp,
    "flow": Flow,
    "flow_gan": FlowGan,
    "gan": Gan,
    "gan_likelihood": GanLikelihood,
    "hybrid": Hybrid,
    "lsgan": Lsgan,
    "mixed_batch_gan": MixedBatchGan,
    "mixup_gan": MixupGan,
    "pixel_vae": PixelVae,
    "pixelcnn": PixelCNNPlusPlus,
    "real_nvp": RealNvp,
    "sngan": Sngan,
    "vae": Vae,
    "vae_gan": VaeGan,
    "vae_iaf": VaeIaf,
    "vq_vae": VqVae,
    "wgan_gp": WganGp,
}


def create(config: Any, data: DataSpec, frozen: dict[str, Method] | None = None) -> Method:
    """Builds the method that a config names, for data with the given fields.

    Args:
      config: a config from `configs/`.
      data: the fields of the examples.
      frozen: {name: method}, the trained models that it contains (`training.frozen`).

    Raises:
      ValueError: the method is unknown, a value is out of range, or config and data do not fit.
    """
    ranges.check(config.to_dict())  # checking a field does not count as reading it
    if config.method not in METHODS:
        raise ValueError(f"unknown method '{config.method}'; choose among {', '.join(METHODS)}")
    return METHODS[config.method](config, data, frozen)
