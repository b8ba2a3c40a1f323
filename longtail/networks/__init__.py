"""Networks: backbones, classifier heads, and the classifier made of both that reads raw images."""

from longtail.networks.classifier import ImageClassifier, NetworkSpec, build, load, save
from longtail.networks.heads import HEADS, build_head, normalises_features
from longtail.networks.initialization import start
from longtail.networks.registry import BACKBONES
from longtail.networks.retrained import load_retrained

__all__ = [
    "BACKBONES",
    "HEADS",
    "ImageClassifier",
    "NetworkSpec",
    "build",
    "build_head",
    "load",
    "load_retrained",
    "normalises_features",
    "save",
    "start",
]
