"""PixelCNN++ in PyTorch, layer for layer that of `gm_jax.networks.pixelcnn`: a peer for its speed.

`python experiments/accelerator_report.py --parts=torch` measures its train step. PyTorch is no
dependency of gm_jax. Images are RGB, [B, 3, H, W]; modules are listed in the order in which ours
are created, so that `load` can copy our parameters.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 256
CHANNELS = 3
PER_MIXTURE = 10  # parameters: a logit, and for each channel a mean, a log-scale, a coefficient


class Conv(nn.Module):
    """A weight-normalised convolution, w = g·v/‖v‖ for each output channel.

    Args:
      padding: left, right, top, bottom; a transposed convolution takes none.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: tuple[int, int],
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        stride: int = 1,
        transposed: bool = False,
    ):
        super().__init__()
        shape = (inputs, outputs) if transposed else (outputs, inputs)
        self.v = nn.Parameter(0.05 * torch.randn(*shape, *size))
        self.g = nn.Parameter(torch.ones(outputs))
        self.b = nn.Parameter(torch.zeros(outputs))
        self.padding, self.stride, self.transposed = padding, stride, transposed

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, inputs, H, W] to [B, outputs, H', W']."""
        others = (0, 2, 3) if self.transposed else (1, 2, 3)
        gain = self.g * torch.rsqrt(self.v.square().sum(others) + 1e-12)
        if self.transposed:
            kernel = self.v * gain[None, :, None, None]
            return F.conv_transpose2d(x, kernel, self.b, self.stride)
        kernel = self.v * gain[:, None, None, None]
        return F.conv2d(F.pad(x, self.padding), kernel, self.b, self.stride)

    def load(self, params: Mapping[str, Any]) -> None:
        """Copies the parameters {v, g, b} of our convolution."""
        kernel = np.asarray(params["v"]).transpose(3, 2, 0, 1)  # from [h, w, in, out]
        if self.transposed:  # PyTorch's is the gradient of a convolution: its kernel is mirrored
            kernel = kernel.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        with torch.no_grad():
            self.v.copy_(torch.tensor(kernel.copy()))
            self.g.copy_(torch.tensor(np.asarray(params["g"])))
            self.b.copy_(torch.tensor(np.asarray(params["b"])))


def down(inputs: int, outputs: int, size: tuple[int, int] = (2, 3), stride: int = 1) -> Conv:
    """A convolution that sees its own row and the rows above."""
    height, width = size
    side = (width - 1) // 2
    return Conv(inputs, outputs, size, (side, side, height - 1, 0), stride)


def right(inputs: int, outputs: int, size: tuple[int, int] = (2, 2), stride: int = 1) -> Conv:
    """A convolution that sees its own pixel and those above and to the left."""
    height, width = size
    return Conv(inputs, outputs, size, (width - 1, 0, height - 1, 0), stride)


def concat_elu(x: Tensor) -> Tensor:
    """elu of [x, −x]."""
    return F.elu(torch.cat([x, -x], 1))


class GatedResnet(nn.Module):
    """x + a·σ(b), with [a, b] from two convolutions; auxiliary: channels of a further input."""

    def __init__(self, conv: Callable[..., Conv], features: int, auxiliary: int, dropout: float):
        super().__init__()
        between = [Conv(2 * auxiliary, features, (1, 1))] if auxiliary else []
        ends = conv(2 * features, features), conv(2 * features, 2 * features)
        self.convs = nn.ModuleList([ends[0], *between, ends[1]])
        self.dropout = dropout

    def forward(self, x: Tensor, auxiliary: Tensor | None = None) -> Tensor:
        """Maps x [B, F, H, W]."""
        hidden = self.convs[0](concat_elu(x))
        if auxiliary is not None:
            hidden = hidden + self.convs[1](concat_elu(auxiliary))
        hidden = F.dropout(concat_elu(hidden), self.dropout, self.training)
        value, gate = self.convs[-1](hidden).chunk(2, 1)
        return x + value * torch.sigmoid(gate)


class PixelCNN(nn.Module):
    """The network; its fields are those of ours that it has."""

    def __init__(
        self,
        num_scales: int,
        num_blocks: int,
        features: int,
        num_mixtures: int,
        dropout_rate: float,
    ):
        super().__init__()
        self.num_scales, self.num_blocks = num_scales, num_blocks
        inputs = CHANNELS + 1
        convs = [
            down(inputs, features),
            down(inputs, features, (1, 3)),
            right(inputs, features, (2, 1)),
        ]
        resnets = []
        for scale in range(num_scales):
            for _ in range(num_blocks):
                resnets.append(GatedResnet(down, features, 0, dropout_rate))
                resnets.append(GatedResnet(right, features, features, dropout_rate))
            if scale < num_scales - 1:
                convs += [down(features, features, stride=2), right(features, features, stride=2)]
        for scale in range(num_scales):
            for _ in range(num_blocks + (scale > 0)):
                resnets.append(GatedResnet(down, features, features, dropout_rate))
                resnets.append(GatedResnet(right, features, 2 * features, dropout_rate))
            if scale < num_scales - 1:
                for size in ((2, 3), (2, 2)):
                    convs.append(Conv(features, features, size, stride=2, transposed=True))
        convs.append(Conv(features, PER_MIXTURE * num_mixtures, (1, 1)))
        self.convs, self.resnets = nn.ModuleList(convs), nn.ModuleList(resnets)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images [B, 3, H, W] in [−1, 1] to mixture parameters [B, 10·K, H, W]."""
        convs, resnets = iter(self.convs), iter(self.resnets)
        x = F.pad(x, (0, 0, 0, 0, 0, 1), value=1.0)
        u = F.pad(next(convs)(x)[:, :, :-1], (0, 0, 1, 0))
        above = F.pad(next(convs)(x)[:, :, :-1], (0, 0, 1, 0))
        ul = above + F.pad(next(convs)(x)[:, :, :, :-1], (1, 0))
        skips = [(u, ul)]
        for scale in range(self.num_scales):
            for _ in range(self.num_blocks):
                u = next(resnets)(u)
                ul = next(resnets)(ul, u)
                skips.append((u, ul))
            if scale < self.num_scales - 1:
                u, ul = next(convs)(u), next(convs)(ul)
                skips.append((u, ul))
        u, ul = skips.pop()
        for scale in range(self.num_scales):
            for _ in range(self.num_blocks + (scale > 0)):
                u_skip, ul_skip = skips.pop()
                u = next(resnets)(u, u_skip)
                ul = next(resnets)(ul, torch.cat([u, ul_skip], 1))
            if scale < self.num_scales - 1:
                u, ul = next(convs)(u)[:, :, :, 1:], next(convs)(ul)
        return next(convs)(F.elu(ul))

    def load(self, params: Mapping[str, Any]) -> None:
        """Copies the parameters of our network of the same size."""
        for number, conv in enumerate(self.convs):
            conv.load(params[f"WeightNormConv_{number}"])
        for number, resnet in enumerate(self.resnets):
            for place, conv in enumerate(resnet.convs):
                conv.load(params[f"GatedResnet_{number}"][f"WeightNormConv_{place}"])

    def num_parameters(self) -> int:
        """The number of its parameters, which is that of ours."""
        return sum(parameter.numel() for parameter in self.parameters())


def log_prob(x: Tensor, parameters: Tensor, min_log_scale: float = -7.0) -> Tensor:
    """ln p(x) in nats [B], as `distributions.discretized_logistic_mixture_log_prob`."""
    logits, *runs = parameters.chunk(PER_MIXTURE, 1)
    half = 1 / (LEVELS - 1)
    log_joint = F.log_softmax(logits, 1)
    red, green, blue = x[:, 0:1], x[:, 1:2], x[:, 2:3]
    coefficients = [torch.tanh(run) for run in runs[2::3]]
    means = [
        runs[0],
        runs[3] + coefficients[0] * red,
        runs[6] + coefficients[1] * red + coefficients[2] * green,
    ]
    for value, mean, log_scale in zip((red, green, blue), means, runs[1::3], strict=True):
        log_scale = log_scale.clamp(min=min_log_scale)
        inverse, centred = torch.exp(-log_scale), value - mean
        has_upper, has_lower = value < 1 - half, value > half - 1
        width = torch.log(-torch.expm1(-2 * half * inverse))
        log_joint = (
            log_joint
            + torch.where(has_upper, F.logsigmoid((centred + half) * inverse), 0.0)
            + torch.where(has_lower, F.logsigmoid((half - centred) * inverse), 0.0)
            + torch.where(has_upper & has_lower, width, 0.0)
        )
    return torch.logsumexp(log_joint, 1).sum((1, 2))


def train_step(network: PixelCNN, dtype: torch.dtype, compiled: bool) -> Callable[[Tensor], Tensor]:
    """Returns a step of Adam with dropout and an average of the parameters, as ours has.

    Convolutions are in `dtype`. What stands between them follows PyTorch's rules for it, so that
    with bfloat16 it moves fewer bytes than ours, which is float32 there.
    """
    parameters = list(network.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    device = parameters[0].device.type
    optimizer = torch.optim.Adam(
        parameters, 1e-3, (0.95, 0.9995), 1e-8, fused=True if device == "cuda" else None
    )

    def loss_of(images: Tensor) -> Tensor:
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            mixture = network(images)
        return -log_prob(images, mixture.float()).mean()

    loss_of = torch.compile(loss_of, fullgraph=True) if compiled else loss_of

    def step(images: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(images)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 5e-4)
        return loss.detach()

    return step
