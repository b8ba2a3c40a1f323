"""What a classifier says of clean images."""

from typing import Any

import numpy as np
import torch

from longtail.data.dataset import Split
from longtail.networks import ImageClassifier
from longtail.training.batches import Images


@torch.no_grad()
def predict(classifier: ImageClassifier, split: Split, batch_size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return logits (N, classes) float32 of a split's clean images, in eval mode."""
    classifier.eval()
    device = classifier.mean.device
    images = Images(split, device)
    chunks = [
        classifier(classifier.preprocess(images.batch(rows))).float().cpu()
        for rows in torch.arange(len(split)).split(batch_size)
    ]
    return torch.cat(chunks).numpy()
