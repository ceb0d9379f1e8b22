"""Installs gm_jax; the README names the extras and what each is for."""

from setuptools import find_packages, setup

# jax.export writes with flatbuffers, which jax does not install.
_EXPORT = ["flatbuffers", "safetensors"]

setup(
    name="gm_jax",
    version="0.1.0",
    description="Likelihood and adversarial image models in JAX and Flax",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["gm_jax", "gm_jax.*"]),
    package_data={"gm_jax": ["py.typed"]},
    install_requires=[
        "absl-py",
        "chex>=0.1.92",
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
        "scikit-image",
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
        "export": _EXPORT,  # --mode=export, and gm_jax.load of what it writes
        "gcs": ["gcsfs"],  # work directories in gs://, through epath without TensorFlow
        "tfds": ["tensorflow-cpu>=2.21"],
        "wandb": ["wandb"],  # train.wandb_project
        "test": [
            *("gcsfs", "mypy>=2.4", "pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9"),
            *_EXPORT,
        ],
    },
)
