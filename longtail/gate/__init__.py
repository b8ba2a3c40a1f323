"""Whether a new model may take the place of the one in use: rules on numbers, without a server."""

from longtail.gate.decision import Candidate, Criterion, Decision, decide
from longtail.gate.scores import Scores, mapped

__all__ = ["Candidate", "Criterion", "Decision", "Scores", "decide", "mapped"]
