"""The least-squares GAN (Mao et al., 2017).

The discriminator is drawn to b on data and to a on samples, the generator draws it to c on samples
(Eq. 2): no logarithm saturates, and a sample far on the right side of the boundary is still pulled
to the data. With the optimal discriminator, (b·p + a·q)/(p + q) (Eq. 5), the generator goes down
Pearson's χ²(p + q ‖ 2q) where b − c = 1 and b − a = 2, of data p and samples q.
"""

from functools import partial

from gm_jax.losses.adversarial import AdversarialLoss, least_squares, least_squares_generator
from gm_jax.methods.gan import Gan


class Lsgan(Gan):
    """An update of the discriminator, then one of the generator, each to targets of the page.

    The paper's targets are a = 0, b = c = 1 (Eq. 9), or a = −1, b = 1, c = 0 (Eq. 8), which
    minimise the divergence.
    """

    def create_loss(self) -> AdversarialLoss:
        """Both sides of Eq. 2.

        Raises:
          ValueError: c is not on b's side of a, so that a sample would not move to the data.
        """
        a, b, c = (self.model.targets[name] for name in "abc")
        if (b - a) * (c - a) <= 0:
            raise ValueError(
                f"model.targets are a = {a}, b = {b}, c = {c}: samples move to the data where b "
                "and c are both above a (published: 0, 1, 1 or -1, 1, 0), or both below"
            )
        return AdversarialLoss(
            "least_squares", partial(least_squares, a=a, b=b), partial(least_squares_generator, c=c)
        )
