"""ParticleNet of weaver-core, in an environment with weaver-core 0.5; does not import lumigraph.

Architecture and optimiser are those of H. Qu, L. Gouskos, arXiv:1902.08570, section IV: three EdgeConv blocks of 16
neighbours with 64, 128 and 256 channels, a fully connected layer of 256 with dropout 0.1, AdamW with weight decay
1e-4, and a learning rate that rises linearly to 3e-3, falls linearly, and ends far lower.
"""

import torch
from peer_training import Jets, run
from torch import Tensor, nn
from weaver.nn.model.ParticleNet import ParticleNet

FEATURES = ("deta", "dphi", "log_pt", "log_E", "log_pt_rel", "log_E_rel", "dr")


def make(jets: Jets) -> nn.Module:
    """Return the network; it normalises its features by batches."""
    blocks = [(16, (64, 64, 64)), (16, (128, 128, 128)), (16, (256, 256, 256))]
    return ParticleNet(jets.x.shape[-1], 2, conv_params=blocks, fc_params=[(256, 0.1)], use_fusion=False)


def score(net: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """Return the logit of a top; neighbours are first those in deta and dphi."""
    features = (x * mask.unsqueeze(-1)).transpose(1, 2)
    features.requires_grad_(torch.is_grad_enabled())  # without it, weaver's network computes no gradient
    out = net(features[:, :2].detach(), features, mask.unsqueeze(1))
    return out[:, 1] - out[:, 0]


if __name__ == "__main__":
    run(FEATURES, make, score, lr=3e-3, weight_decay=1e-4, final_lr=600)
