"""Two small networks for grey digits and other tiny images."""

from torch import Tensor, nn
from torch.nn import functional as F


class SmallCNN(nn.Module):
    """Three 3×3 convolutions with batch normalisation, average pooling, 64 features; for images from 8×8 up."""

    feature_size = 64

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(64)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, 64) of images (N, C, H, W)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return F.relu(self.bn3(self.conv3(x))).mean(dim=(2, 3))


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al. 1998) with ReLU and max pooling, up to its 84 features; images are padded to 32×32."""

    feature_size = 84

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, 84) of images (N, C, H, W) of at most 32×32 pixels."""
        height, width = 32 - x.shape[2], 32 - x.shape[3]
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
