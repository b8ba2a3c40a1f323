"""The graph of a whole classifier, from raw input to probabilities and features, as `torch.export` writes it.

It is JSON beside the raw bytes of the weights, so that it can be run without this package and holds no pickled code.
"""

import copy
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from longtail.networks import ImageClassifier
from longtail.networks.identity import IDENTITY

_VALUES = 2**22
"""Numbers that a network gets at once, 16 MB: what it computes from them decides how much memory is needed."""
_ROWS = 512
_EXAMPLES = 2
"""`torch.export` fixes the batch size of an example with one input."""


class ServedClassifier(nn.Module):
    """What is served: class probabilities (N, C) and features (N, D) of raw images or rows.

    Args:
        classifier: A trained classifier; its head may have been retrained.

    Attributes:
        input_shape: Of one input: (H, W, channels) of an image, or (D,) of a row of features.
        rows_at_once: Inputs that fit in memory together.
    """

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.reads_rows = classifier.spec.network == IDENTITY
        size = int(classifier.backbone.feature_size)  # type: ignore[arg-type]
        self.input_shape: tuple[int, ...] = (size,) if self.reads_rows else classifier.spec.image_shape
        values = max(math.prod(self.input_shape), len(classifier.spec.mean) * classifier.spec.input_size**2)
        self.rows_at_once = max(1, min(_ROWS, _VALUES // values))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (N, C) and features (N, D), both float32.

        Args:
            inputs: Images (N, H, W, channels) with pixels in [0, 255], or rows (N, D).
        """
        x = inputs if self.reads_rows else self.classifier.preprocess(inputs)
        features = self.classifier.features(x)
        return self.classifier.classify(features).softmax(dim=1), features


def export_graph(classifier: ImageClassifier, path: Path) -> None:
    """Write the graph of a classifier, which reads any number of float32 inputs on the CPU.

    Args:
        classifier: It is copied to the CPU and put in evaluation mode; itself it is left as it is.
        path: A `.pt2` file.
    """
    served = ServedClassifier(copy.deepcopy(classifier).cpu().eval())
    example = torch.zeros(_EXAMPLES, *served.input_shape)
    with torch.no_grad():
        program = torch.export.export(served, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, path)
