"""What a logged model holds beside its code: the graph that is served, and statistics of its training features."""

from longtail.serving.graph import ServedClassifier, export_graph
from longtail.serving.reference import ReferenceStatistics

__all__ = ["ReferenceStatistics", "ServedClassifier", "export_graph"]
