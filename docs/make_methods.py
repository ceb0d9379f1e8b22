"""Writes docs/methods/, one page for each family of methods, from the docstrings of `configs/`.

python docs/make_methods.py
"""

import ast
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "methods"


class Family(NamedTuple):
    """A page of docs/methods/: its title, what it begins with, and the configs that it shows."""

    title: str
    lead: str
    configs: tuple[str, ...]


FAMILIES = {
    "autoregressive": Family(
        "Autoregressive models, and AGAVE",
        "They draw an image pixel after pixel. PixelCNN++ has an exact likelihood; AGAVE, whose "
        "likelihood is bounded, gives a PixelCNN++ the sketch of a VAE to draw on.",
        ("agave", "pixelcnn"),
    ),
    "variational": Family(
        "Variational auto-encoders",
        "They encode images as latents, and bound the likelihood from below.",
        ("vae", "vae_iaf", "pixel_vae", "vq_vae", "code_prior"),
    ),
    "flows": Family(
        "Flows",
        "Invertible networks, trained by the exact likelihood of dequantised images or of points.",
        ("flow", "real_nvp", "hybrid"),
    ),
    "adversarial": Family(
        "Adversarial models",
        "A generator and a discriminator. The loss (`model.adversarial_loss`) and the control of "
        "the discriminator's slope (`model.lipschitz`) are fields, except where the page's paper "
        "is about them.",
        ("wgan_gp", "sngan", "lsgan", "mixed_batch_gan"),
    ),
    "encoders": Family(
        "Adversarial models with an encoder",
        "They also reconstruct images and interpolate between them, but have no likelihood.",
        ("bigan", "alpha_gan", "vae_gan", "adversarial_autoencoder"),
    ),
    "both": Family(
        "Likelihood and adversary together",
        "A likelihood makes the model cover the data, an adversary makes its samples look right.",
        ("adaptive_density", "flow_gan", "gan_likelihood"),
    ),
    "others": Family(
        "Translation, and the judge of samples",
        "CycleGAN maps one domain of images to another. The classifier judges samples "
        "([evaluation](../evaluation.md)).",
        ("cycle_gan", "classifier"),
    ),
}


def described(docstring: str) -> str:
    """A config's docstring as a section: its first line is the heading, commands are fenced."""
    title, _, rest = docstring.partition("\n")
    blocks = re.sub(
        r"(?m)^(?: {4}.*\n?)+",
        lambda block: f"```sh\n{textwrap.dedent(block[0]).rstrip()}\n```\n",
        rest.strip("\n") + "\n",
    )
    return f"## {title.rstrip('.')}\n\n{blocks}"


def make() -> dict[str, str]:
    """The pages, {name: text}.

    Raises:
      ValueError: a config is in no family or in two, or a family names one that does not exist.
    """
    docstrings = {}
    for path in sorted((ROOT / "configs").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "def get_config(" in text:
            docstrings[path.stem] = ast.get_docstring(ast.parse(text)) or ""
    shown = sorted(name for family in FAMILIES.values() for name in family.configs)
    if shown != sorted(docstrings):
        wrong = {name for name in {*shown, *docstrings} if shown.count(name) != 1}
        wrong |= {*shown} - {*docstrings}
        raise ValueError(
            f"configs/: {', '.join(sorted(wrong))}: each config belongs to one family of FAMILIES "
            "in docs/make_methods.py"
        )
    pages = {}
    for name, family in FAMILIES.items():
        sections = [described(docstrings[config]) for config in family.configs]
        pages[name] = (
            f"# {family.title}\n\n{family.lead}\n\n`python docs/make_methods.py` writes this page "
            "from the docstrings of the pages in `configs/`.\n\n" + "\n".join(sections)
        )
    return pages


if __name__ == "__main__":
    for name, page in make().items():
        (FOLDER / f"{name}.md").write_text(page, encoding="utf-8")
