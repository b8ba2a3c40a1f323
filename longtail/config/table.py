"""Settings of a start from features that were computed elsewhere."""

from dataclasses import dataclass

from longtail.config.fields import choice, number


@dataclass(frozen=True)
class TableConfig:
    """Features that were computed elsewhere: a table in Parquet, one row each."""

    path: str = ""
    """A Parquet file or a folder of them, here or at `s3://bucket/...`."""
    feature_columns: tuple[str, ...] = ()
    """One column of lists, or columns of numbers. Empty takes the column of lists, `features` or `embedding` if there
    are several; without one, all columns but the next two."""
    label_column: str = "label"
    """Column of classes: whole numbers or text."""
    split_column: str = "split"
    """Column that says `train`, `validation` or `test`; the one of this name may be missing, empty looks for none."""
    test_share: float = number(0.2, minimum=0.01, maximum=0.9)
    """Share of each class that is held out for testing if no row says `test`: at least one row, but of a class that has
    only one, which then is not tested."""
    scaling: str = choice("none", "standard")
    """`standard` brings each feature to mean 0 and deviation 1 over the training rows, as columns of different units
    need it; `none` leaves embeddings as they are."""
    split_seed: int = number(0, minimum=0)
    """Chooses the rows that are held out and nothing else."""


@dataclass(frozen=True)
class HeadConfig:
    """The first head on features that were computed elsewhere, trained on every row equally often: the baseline."""

    kind: str = choice("cosine", "linear", "cosine_reference")
    """Classifier, as `backbone.head`; a linear one needs features of moderate size, see `table.scaling`."""
    scale: float = number(10.0, minimum=0.0)
    """Initial scale of a cosine head."""
    epochs: int = number(20, minimum=1)
    """Passes over the training rows."""
    minimum_steps: int = number(1000, minimum=0)
    """An epoch goes over a small table several times, so that there are so many steps in all."""
    batch_size: int = number(128, minimum=1)
    """Rows of a step."""
    learning_rate: float = number(0.2, minimum=0.0)
    """Peak rate of SGD."""
    schedule: str = choice("cosine", "constant")
    """How the rate moves over the steps."""
    momentum: float = number(0.9, minimum=0.0, maximum=1.0)
    """Momentum of SGD."""
    weight_decay: float = number(5e-4, minimum=0.0)
    """L2 penalty."""
