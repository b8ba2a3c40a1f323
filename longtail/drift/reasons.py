"""What a comparison found: reasons to train again, each a sentence with its numbers, and the page that shows them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from longtail.drift.counts import CountChange
from longtail.drift.shift import Shift
from longtail.pages import Details, Section, Table, Text, html_report


@dataclass(frozen=True)
class Reason:
    """One thing that speaks for training again.

    Attributes:
        kind: `content`, `classes`, `counts` or `features`.
        sentence: It, with its numbers.
        numbers: The numbers, as JSON values.
    """

    kind: str
    sentence: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Drift:
    """A champion's training data beside what would be chosen from the source now.

    Attributes:
        model: The champion, such as `digits/3`.
        digest_then: SHA-256 of the source that it was trained on.
        digest_now: SHA-256 of the source now.
        reasons: What speaks for training again.
        counts: Images of each class then and now; empty if the content is the same.
        whole: How far the means of all classes moved; None if that was not measured.
        shifts: How far the mean of each class moved.
    """

    model: str
    digest_then: str
    digest_now: str
    reasons: tuple[Reason, ...] = ()
    counts: tuple[CountChange, ...] = ()
    whole: Shift | None = None
    shifts: tuple[Shift, ...] = ()

    @property
    def needed(self) -> bool:
        """Whether there is a reason to train again."""
        return bool(self.reasons)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes there are now; none if the content is the same."""
        return tuple(change.name for change in self.counts if change.now)

    @property
    def sentence(self) -> str:
        """The reasons in one text, or that there is none."""
        if self.reasons:
            return " ".join(reason.sentence for reason in self.reasons)
        if self.digest_now == self.digest_then:
            return f"The source is byte for byte what {self.model} was trained on."
        return f"The source has new content, but nothing in it speaks for training {self.model} again."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"needed": self.needed, "sentence": self.sentence, **asdict(self)}


def page(drift: Drift) -> str:
    """Return a comparison as one HTML page."""
    verdict = "There is a reason to train again." if drift.needed else "There is no reason to train again."
    reasons = [Text(f"{reason.kind}: {reason.sentence}") for reason in drift.reasons]
    sections = [Section("Verdict", [Text(verdict), *(reasons or [Text(drift.sentence)])])]
    if drift.counts:
        rows: list[list[str | float | None]] = [
            [change.name, change.then, change.now, change.relative] for change in drift.counts
        ]
        caption = "Training images as they were and as they would be chosen now; change relative to then"
        sections.append(Section("Classes", [Table(["class", "then", "now", "change"], rows, caption)]))
    if drift.whole is not None:
        shifts: list[list[str | float | None]] = [
            [each.name or "all", each.images, each.distance, each.p_value] for each in (drift.whole, *drift.shifts)
        ]
        header = ["class", "images", "moved by", "p value"]
        caption = (
            "Root mean square over the features, in standard deviations within a class, after what sampling explains "
            "is taken off; p value of no move at all"
        )
        sections.append(Section("Feature means", [Table(header, shifts, caption)]))
    sections.append(Section("Numbers", [Details("JSON", drift.to_dict())]))
    return html_report(f"Is {drift.model} still up to date?", sections)
