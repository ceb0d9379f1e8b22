"""Image models that are likelihood models and adversarial models at once, in JAX."""
