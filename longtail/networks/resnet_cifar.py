"""ResNet-32 for 32×32 images (He et al. 2015), in its standard 64-d form and the 128-d one of BBN and TailCalib."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """conv3×3-BN-ReLU-conv3×3-BN plus a shortcut without parameters (option A), ReLU after the sum."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = (channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, H/stride, W/stride)."""
        shortcut = x
        if self.padding:
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + shortcut)


class ResNetCifar(nn.Module):
    """Three stages of five blocks with 16, 32 and 64 channels, average pooling, no classifier.

    Args:
        in_channels: Image channels.
        branches: 1 for the standard network (64-d, 463,504 parameters); 2 replaces the last block by two
            parallel ones whose outputs are concatenated (128-d, 537,488 parameters; BBN, Zhou et al. 2020).
    """

    def __init__(self, in_channels: int = 3, branches: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16) for _ in range(5)))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), *(BasicBlock(32, 32) for _ in range(4)))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2), *(BasicBlock(64, 64) for _ in range(3)))
        self.branches = nn.ModuleList(BasicBlock(64, 64) for _ in range(branches))
        self.feature_size = 64 * branches
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, feature_size) of images (N, C, H, W); they are averages of ReLU outputs, so ≥ 0."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return torch.cat([branch(x).mean(dim=(2, 3)) for branch in self.branches], dim=1)


resnet32 = partial(ResNetCifar, branches=1)
resnet32_128 = partial(ResNetCifar, branches=2)


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
