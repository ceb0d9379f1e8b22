"""Installs gm_jax; docs/quickstart.md says what each extra is for."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
# Read, not imported: the package's requirements may not be installed yet.
VERSION = re.search(r'^__version__ = "(.+?)"', (ROOT / "gm_jax/__init__.py").read_text(), re.M)
PHOTOS = ["scikit-image"]  # has the photographs of the source `photos`
CODING = ["constriction>=0.5"]  # entropy coder of --mode=compress
EXPORT = ["flatbuffers", "safetensors"]  # jax.export writes with the first, and does not install it

setup(
    name="gm_jax",
    version=VERSION[1],
    description="Likelihood and adversarial image models in JAX and Flax",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["gm_jax", "gm_jax.*"]),
    package_data={"gm_jax": ["py.typed"]},
    install_requires=[
        "absl-py",
        "etils[epath]",
        "flax>=0.12.8",
        "grain>=0.2.18",
        "importlib_resources",  # imported by tensorflow-datasets, which does not declare it
        "jax>=0.10.2",
        "ml-collections>=1.1.0",
        "numpy",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8,<1.0",  # its interface changes at 1.0
        "pillow",
        "scikit-learn",
        "scipy",
        "tensorboardX>=2.6.5",
        "tensorflow-datasets>=4.9.10",
        "threadpoolctl",
        "tqdm",
    ],
    extras_require={
        "cuda": ["jax[cuda13]>=0.10.2"],
        "tpu": ["jax[tpu]>=0.10.2"],
        "coding": CODING,
        "export": EXPORT,  # --mode=export, and gm_jax.load of what it writes
        "gcs": ["gcsfs"],  # work directories in gs://, through epath without TensorFlow
        "photos": PHOTOS,
        "tfds": ["tensorflow-cpu>=2.21"],
        "wandb": ["wandb"],  # train.wandb_project
        "docs": ["mkdocs>=1.6,<2", "mkdocstrings[python]>=1.0"],
        "test": [
            *PHOTOS,
            *CODING,
            *EXPORT,
            "chex>=0.1.92",
            "gcsfs",
            "ipykernel>=7",
            "mypy>=2.4",
            "nbclient>=0.10",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
        ],
    },
)
