"""Batch norm folded into the convolutions and dense layers before it: the same numbers, computed faster.

In evaluation mode batch norm multiplies and shifts each channel by numbers that do not change, and so does the layer
before it. A block says in its attribute `folds` which norm follows which layer at once.
"""

import copy
from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network) -> Network:
    """A copy of `network` for evaluation only, its batch norms folded away; the network itself stays as it is.

    Its outputs are those of `network.eval()` but for rounding. It cannot be trained, and its weights are no longer
    those of the spec: checkpoints and digests are the network's. Norms that depend on the example itself (group,
    layer) and those that follow no layer at once stay.

    >>> import torch
    >>> from ssl_music.encoders.layers import ConvBlock
    >>> block, image = ConvBlock(1, 8, pool=(2, 2), norm="batch").eval(), torch.randn(2, 1, 8, 8)
    >>> fast = folded(block)
    >>> fast.norm, torch.allclose(fast(image), block(image), atol=1e-5)
    (Identity(), True)
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for part in network.modules():
        for layer_name, norm_name in getattr(part, "folds", ()):
            layer, norm = getattr(part, layer_name), getattr(part, norm_name)
            if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
                # one formula for every kind of layer: its weight's first axis is the channel
                layer.weight, layer.bias = fuse_conv_bn_weights(
                    layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                setattr(part, norm_name, nn.Identity())
    return network
