"""Adaptive density estimation, its baselines and refinements (Lucas et al., 2019).

    python experiments/main.py --config=configs/adaptive_density.py[:MODEL[+REFINEMENT…][,DATA]]

| MODEL | f_ψ | adversarial | likelihood | published on CIFAR-10: bits/dim, IS, FID |
|---|---|---|---|---|
| gan | - | yes | - | [7.0], 6.8, 31.4 |
| vae | - | - | yes | 4.4, 2.0, 171 |
| v_ade | yes | - | yes | 3.5, 3.0, 112 |
| av_gde | - | yes | yes | 4.4, 5.1, 58.6 |
| av_ade (default) | yes | yes | yes | 3.9, 7.1, 28.0 |

REFINEMENT (Table 2): rd, residual discriminator; wg, twice the channels; iaf, residual generator
with inverse autoregressive flow; s2, two scales in f_ψ. `av_ade+wg+rd,cifar10`: 3.8, 8.2, 17.2.
DATA: digits (default: av_ade ends at ≤ 2.146 bits/dim in 9 minutes on 1 CPU core; gan has few modes
then, [≤ 4.61]), photos, cifar10, stl10, imagenet64, lsun64, lsun128, smoke. The published numbers
are not yet reproduced here.
`--config.model.class_conditional=True` conditions on labels. The bits/dim of a trained GAN are a
run of their own: `configs/gan_likelihood.py`. The paper compares models of equal size: f_ψ is paid
for in the generator's width (−1.4 %). Of 9,579,143 parameters of encoder and decoder (vae, av_gde;
CIFAR-10) it takes so 115,000, and f_ψ adds 128,016: 9,592,199 (v_ade, av_ade), .14 % more.
"""

from ml_collections import ConfigDict

MODELS = ("gan", "vae", "v_ade", "av_gde", "av_ade")
REFINEMENTS = ("rd", "wg", "iaf", "s2")
REFINED = {  # what a refinement changes, and the models without it
    "rd": ("discriminator", ("vae", "v_ade")),
    "iaf": ("posterior", ("gan",)),
    "s2": ("f_ψ", ("gan", "vae", "av_gde")),
}


def get_config(variant: str = "av_ade,digits") -> ConfigDict:
    """Returns the locked config of MODEL[+REFINEMENT…][,DATA]."""
    name, _, data = variant.partition(",")
    model, *refinements = name.split("+")
    data = data or "digits"
    _refuse_unknown(variant, model, refinements, data)
    invertible = model in ("v_ade", "av_ade")
    adversarial = model in ("gan", "av_gde", "av_ade")
    config = ConfigDict()
    config.method = "gan" if model == "gan" else "adaptive_density"
    config.variant, config.seed = variant, 0
    config.data = {
        "source": "tfds:cifar10",
        "train_split": "train[:90%]",
        "validation_split": "train[90%:]",
        "test_split": "test",
        "resize": 0,  # side in pixels; 0 keeps the size
        "crop": "none",  # or center: the largest central square
        "flip": False,
        "batch_size": 64,  # 32 above CIFAR-10
        "cache_dir": "",  # "": ~/.cache/gm_jax/images
    }
    config.train = {
        "steps": 400_000,  # paper: not said
        "log_every_steps": 100,
        "evaluate_every_steps": 10_000,
        "checkpoint_every_steps": 2_000,
        "init_batch_size": 64,  # images of the data-dependent initialisation
        "parallel": "shard_map",  # all devices; or pmap; or jit: one device
        "deterministic": False,  # on GPU: bitwise the same run again, and slower
    }
    config.evaluate = {"batch_size": 128, "num_reconstructions": 16, "reconstruction_draws": 2}
    config.sample = {
        "num_images": 64,
        "batch_size": 64,
        "temperature": 1.0,
        "from_mean": True,  # f_ψ⁻¹(µ(z)) as in Eq. 5; False: of a draw from N(µ(z), σ²)
    }
    config.optimizer = {  # appendix C
        "name": "adamax",
        "learning_rate": 0.002,
        "learning_rate_decay": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "epsilon_root": 0.0,
    }
    config.model = {
        "class_conditional": False,
        "ema_decay": 0.0,  # paper: not said; 0 keeps no average
        "matmul_dtype": "float32",  # or bfloat16
    }
    generator = {
        # From the image's resolution to the top. f_ψ is paid for in width (Table 1, footnote).
        "widths": (64, 128, 256, 504) if invertible else (64, 128, 256, 512),
        "top_latents": 128,  # as SNGAN's
        "residual_scale": 0.0,
        "head_init_scale": 0.1,  # of means and log standard deviations
    }
    if model == "gan":
        config.model.generator = generator
    else:
        config.model.update({
            "invertible": invertible,
            "adversarial_weight": 100.0 if adversarial else 0.0,
            "likelihood_unit": "image",  # nats an image beside the weight; or dimension
            "vae": {**generator, "num_latents": 32, "flow": False},  # a layer below the top
            "decoder": {"flow_layers": 2, "flow_scale": 0.1,
                        "init_log_std": 0.0 if invertible else -1.5},
        })  # fmt: skip
    if invertible:
        config.model.encoder_input = "features"  # Algorithm 1; or image (Eq. 3)
        config.model.real_nvp = {
            "num_scales": 1,
            "num_blocks": 2,
            "features": 32,
            "num_checkerboard": 3,
            "num_channel": 3,
            "num_last": 3,  # "three Real-NVP layers with a single scale" (appendix C)
            "batch_norm_decay": 0.9,
            "batch_norm_epsilon": 1e-4,
            "logit_margin": 0.05,
        }
    if adversarial:
        config.model.gradient_penalty = 100.0  # coefficient of Eq. 11
        config.model.discriminator = {
            "kind": "convolutional",
            "widths": (64, 128, 256, 512),
            "slope": 0.2,  # of the leaky ReLU
        }
        if model != "gan":
            config.model.warmup_steps = 20_000  # likelihood alone (appendix F); length: not said
            config.model.adversarial_sample = "mean"  # Eq. 5; or noise, a draw around it (H)
    for refinement in refinements:
        refine(config.model, refinement, model)
    SETTINGS[data](config)
    return config.lock()


def _refuse_unknown(variant: str, model: str, refinements: list[str], data: str) -> None:
    if len(set(refinements)) < len(refinements):
        raise ValueError(f"a refinement stands twice in variant '{variant}'; give each once")
    for name, kind, choices in (
        (model, "model", MODELS),
        *((refinement, "refinement", REFINEMENTS) for refinement in refinements),
        (data, "data", SETTINGS),
    ):
        if name not in choices:
            raise ValueError(
                f"unknown {kind} '{name}' in variant '{variant}'; choose among {', '.join(choices)}"
            )


def refine(config: ConfigDict, refinement: str, model: str) -> None:
    """Changes `config.model` by a refinement of Table 2."""
    refined, without = REFINED.get(refinement, ("", ()))
    if model in without:
        raise ValueError(f"refinement '{refinement}': the model '{model}' has no {refined}")
    if refinement == "rd":
        config.discriminator = {"kind": "residual", "widths": (16, 32, 64, 128, 256)}
    elif refinement == "wg":
        generator = config.generator if model == "gan" else config.vae
        generator.widths = tuple(2 * width for width in generator.widths)
    elif refinement == "iaf":  # Table 6b
        widths = tuple(width // 2 for width in config.vae.widths)
        config.vae.update({"widths": widths, "residual_scale": 0.1, "flow": True})
    else:  # of Table 9 the row whose numbers are those of Table 2
        config.real_nvp.update({"num_scales": 2, "num_blocks": 4, "num_last": 4})


def resize(config: ConfigDict, narrower: int = 1, extra_layers: int = 0) -> None:
    """Divides all channels, and adds layers below the top ("one more at 64×64", 5.3)."""
    for name in ("vae", "generator", "discriminator"):
        if name in config.model:
            network = config.model[name]
            widths = tuple(width // narrower for width in network.widths)
            network.widths = (*widths[:-1], *(widths[-2],) * extra_layers, widths[-1])
    for name, field in (("vae", "top_latents"), ("vae", "num_latents"),
                        ("generator", "top_latents"), ("real_nvp", "features")):  # fmt: skip
        if name in config.model:
            config.model[name][field] //= narrower


def digits(config: ConfigDict) -> None:
    """Minutes on two cores."""
    resize(config, narrower=4)
    config.data.update({"source": "digits", "train_split": "train",
                        "validation_split": "validation"})  # fmt: skip
    config.train.update({"steps": 1_500, "log_every_steps": 20, "evaluate_every_steps": 250,
                         "checkpoint_every_steps": 250})  # fmt: skip
    config.evaluate.batch_size = 64
    short_run(config)
    if "warmup_steps" in config.model:
        # 64 dimensions have nats to set against it, not 3,072.
        config.model.adversarial_weight *= 0.02


def short_run(config: ConfigDict) -> None:
    """In a thousand steps the published penalty and momentum leave the discriminator at chance.

    All models have the same optimizer, so that they compare.
    """
    config.optimizer.beta1 = 0.5
    if "discriminator" in config.model:
        config.model.gradient_penalty = 10.0
    if "warmup_steps" in config.model:
        config.model.warmup_steps = 500


def photos(config: ConfigDict) -> None:
    """Natural images without a download, a few minutes on two cores."""
    resize(config, narrower=8)
    config.data.update({"source": "photos", "train_split": "train", "flip": True,
                        "validation_split": "validation", "batch_size": 16})  # fmt: skip
    config.train.update({"steps": 2_000, "log_every_steps": 20, "evaluate_every_steps": 500,
                         "checkpoint_every_steps": 200})  # fmt: skip
    short_run(config)


def cifar10(config: ConfigDict) -> None:
    """As published; batch 64."""


def stl10(config: ConfigDict) -> None:
    """48×48, as SNGAN does; the paper adds nothing but depth."""
    resize(config, extra_layers=1)
    config.data.update({"source": "tfds:stl10", "train_split": "unlabelled[:95%]",
                        "validation_split": "unlabelled[95%:]", "resize": 48,
                        "batch_size": 32})  # fmt: skip


def imagenet64(config: ConfigDict) -> None:
    """64×64 ImageNet."""
    resize(config, extra_layers=1)
    config.data.update({"source": "tfds:downsampled_imagenet/64x64", "train_split": "train[:98%]",
                        "validation_split": "train[98%:]", "test_split": "validation",
                        "batch_size": 32})  # fmt: skip


def lsun64(config: ConfigDict) -> None:
    """A category of LSUN (another by `--config.data.source`)."""
    resize(config, extra_layers=1)
    config.data.update({"source": "tfds:lsun/church_outdoor", "train_split": "train[:98%]",
                        "validation_split": "train[98%:]", "test_split": "validation",
                        "crop": "center", "resize": 64, "batch_size": 32})  # fmt: skip


def lsun128(config: ConfigDict) -> None:
    """The same at 128×128, one layer deeper still."""
    lsun64(config)
    resize(config, extra_layers=1)
    config.data.resize = 128


def smoke(config: ConfigDict) -> None:
    """Two tiny steps on the digits."""
    digits(config)
    resize(config, narrower=2)
    config.data.update({"train_split": "train[:64]", "validation_split": "validation[:24]",
                        "test_split": "test[:24]", "batch_size": 16})  # fmt: skip
    config.train.update({"steps": 2, "log_every_steps": 1, "evaluate_every_steps": 2,
                         "checkpoint_every_steps": 1, "init_batch_size": 16})  # fmt: skip
    config.evaluate.update({"batch_size": 16, "num_reconstructions": 4})
    config.sample.update({"num_images": 8, "batch_size": 8})
    for name in ("vae", "generator", "discriminator"):
        if name in config.model:
            config.model[name].widths = config.model[name].widths[:3]
    if "warmup_steps" in config.model:
        config.model.warmup_steps = 1


SETTINGS = {function.__name__: function for function in
            (digits, photos, cifar10, stl10, imagenet64, lsun64, lsun128, smoke)}  # fmt: skip
