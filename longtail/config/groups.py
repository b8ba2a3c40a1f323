"""Every setting of every step, once, with its default."""

from dataclasses import dataclass, field

from longtail.config.curvature import CurvatureConfig, TracePenaltyConfig
from longtail.config.drift import DriftConfig
from longtail.config.fields import choice, items, name, number
from longtail.config.promotion import PromotionConfig
from longtail.config.table import HeadConfig, TableConfig


@dataclass(frozen=True)
class DataConfig:
    """What the long-tailed data set is made from, and how long its tail is."""

    source: str = choice("digits", "parquet", "imagefolder", "cifar10", "cifar100", "mini_imagenet")
    """Kind of source; given a path, the command line finds it out by looking."""
    path: str = ""
    """Local path or `s3://bucket/prefix`; empty for `digits`, and for CIFAR to download it."""
    image_column: str = "img"
    """Parquet column of encoded images: bytes, or a struct with `bytes`."""
    label_column: str = "fine_label"
    """Parquet column of labels."""
    profile: str = choice("exponential", "step", "natural")
    """How class counts fall: exponentially (the paper), half the classes small, or as they are."""
    imbalance_factor: float = number(100.0, minimum=1.0)
    """Largest class count over smallest; ignored by the `natural` profile."""
    largest_class: int = number(0, minimum=0)
    """Images in the largest class; 0 takes what the smallest class of the source can give, less what `unchosen`
    validation needs."""
    validation: str = choice("none", "unchosen", "chosen", "test")
    """`unchosen`: a balanced set of training images that were not chosen, of `mini_imagenet` its own validation images;
    `chosen`: a share of the chosen; `test`: the test images themselves, as the paper's code selects its epochs
    (optimistic; for parity studies alone)."""
    validation_per_class: int = number(10, minimum=1)
    """Validation images of a class."""
    test_share: float = number(0.2, minimum=0.01, maximum=0.9)
    """Share of each class that is held out for testing where the source has no test split: at least one image, but of a
    class that has only one, which then is not tested."""
    split_seed: int = number(0, minimum=0)
    """Chooses the images that are held out, whatever `seed` then chooses from the others."""
    image_size: int = number(0, minimum=0)
    """Side in pixels that every image is resized to, with `crop_size` its shorter side; 0 keeps images as they are."""
    crop_size: int = number(0, minimum=0)
    """Side of the centre crop that is evaluated; training takes crops of random place, area and aspect, scaled to it
    (arXiv 1409.4842). 0 uses whole images."""
    seed: int = number(0, minimum=0)
    """Chooses the images and nothing else."""


@dataclass(frozen=True)
class LossConfig:
    """What backbone training minimises, and which classes it sees how often."""

    name: str = choice("cross_entropy", "balanced_softmax", "logit_adjustment", "ldam")
    """`balanced_softmax` (arXiv 2007.10740) and `logit_adjustment` (arXiv 2007.07314) add the log of the class counts
    to the logits; `ldam` (arXiv 1906.07413) demands a larger margin of small classes."""
    tau: float = number(1.0, minimum=0.0)
    """Strength of `logit_adjustment`; at 1 it is the balanced softmax."""
    margin: float = number(0.5, minimum=0.0)
    """Largest margin of `ldam`, that of the smallest class, as a cosine."""
    reweighting_from: float = number(1.0, minimum=0.0, maximum=1.0)
    """Share of the steps after which classes are weighted by their effective number (deferred re-weighting, DRW,
    arXiv 1906.07413); 1 never weights them."""
    sampler: str = choice("instance", "class_aware")
    """`instance`: every image once an epoch; `class_aware`: every class equally often, four images at a time."""


@dataclass(frozen=True)
class DistillationConfig:
    """Class-balanced distillation (CBD, arXiv 2104.05279): a student that follows a teacher's features.

    The teacher is the same network, trained first with plain cross-entropy on every image equally often.
    """

    weight: float = number(0.0, minimum=0.0, maximum=1.0)
    """Share alpha of the distillation loss; 0 trains without a teacher."""
    scale: float = number(100.0, minimum=0.0)
    """Factor beta on one minus the cosine between the student's and the teacher's features."""
    teacher_seed: int = number(0, minimum=0)
    """The teacher's own seed; 0 takes ten times the run's, as the paper's code does, and 10 for a run of seed 0."""
    teacher_subset: str = choice("same", "own")
    """`own`: the teacher sees another long-tailed subset, chosen by its seed, as in the paper's code; it then knows
    tail images that the student's data set lacks."""
    teacher_batch_norm: str = choice("eval", "train")
    """`train`: the frozen teacher normalises by batch and its averages drift, as in the paper's code."""


@dataclass(frozen=True)
class BackboneConfig:
    """The network, and the recipe that trains it on the imbalanced images."""

    network: str = name(
        ("small_cnn", "lenet", "resnet32", "resnet32_128", "resnext50"), prefixes=("torchvision:", "timm:")
    )
    """Backbone; `resnet32_128` is the paper's for CIFAR, with 128 features, `resnext50` its for mini-ImageNet, with
    2,048; `torchvision:NAME` and `timm:NAME` are any classifier of these libraries without its last layer."""
    weights: str = ""
    """What the backbone starts from: nothing, `published` for the library's own weights (its input size and
    normalisation are then used too), a file of weights (`.safetensors`, or `.pth` without pickled code), or a version
    of a registered model, `models:/NAME/3`, with its head, extended to new classes."""
    trainable: str = choice("all", "head")
    """`head`: the backbone stays frozen as it was loaded and only the head is trained."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Loss and sampler."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    """Class-balanced distillation."""
    trace_penalty: TracePenaltyConfig = field(default_factory=TracePenaltyConfig)
    """Hessian-trace regularisation."""
    curvature: CurvatureConfig = field(default_factory=CurvatureConfig)
    """Curvature over the epochs."""
    head: str = choice("cosine", "linear", "cosine_reference")
    """Classifier; `cosine_reference` normalises the weight as the paper's code does."""
    scale: float = number(10.0, minimum=0.0)
    """Initial scale of a cosine head."""
    epochs: int = number(30, minimum=1)
    """Passes over the training images."""
    minimum_steps: int = number(0, minimum=0)
    """Small data sets get more epochs until there are so many steps in all."""
    batch_size: int = number(128, minimum=1)
    """Images of a step, over all processes."""
    processes: int = number(1, minimum=1)
    """Processes that share the work of a step, a divisor of `batch_size`. Neither this nor `launcher` changes what a
    checkpoint is of: a training may go on with another number."""
    launcher: str = choice("torchrun", "trainjob", "pytorchjob")
    """What starts more than one process: `torchrun` in the step's own container, or a job of Kubeflow's trainer, of
    version 2 (`trainjob`) or 1 (`pytorchjob`), with a pod for each."""
    learning_rate: float = number(0.2, minimum=0.0)
    """Largest learning rate of SGD."""
    schedule: str = choice("onecycle", "cosine", "cosine_epochs", "constant")
    """How the rate moves over the steps; `cosine_epochs` moves once an epoch and starts one epoch ahead, as the
    paper's code does."""
    head_schedule: str = choice("same", "constant")
    """`constant`: the head keeps the largest rate while the backbone's falls, as in the paper's code."""
    warmup: float = number(0.15, minimum=0.0, maximum=1.0)
    """Share of the steps in which `onecycle` raises the rate from near zero to its peak."""
    momentum: float = number(0.9, minimum=0.0, maximum=1.0)
    """Momentum of SGD."""
    nesterov: bool = False
    """Nesterov's form of the momentum."""
    weight_decay: float = number(5e-4, minimum=0.0)
    """L2 penalty."""
    weight_decay_on: str = choice("all", "weights")
    """`all` parameters, as in the paper's code, or the `weights` of convolutions and linear layers alone."""
    augmentation: str = choice("crop_flip", "crop", "autoaugment", "randaugment", "trivialaugment", "none")
    """Random shifts by an eighth of the side (`crop`), with mirroring (`crop_flip`); the others are those two and a
    policy of torchvision's. With `data.crop_size` crops are of random area instead of shifted."""
    colour_jitter: float = number(0.0, minimum=0.0, maximum=1.0)
    """Largest relative change of brightness, contrast and saturation."""
    cutout: int = number(0, minimum=0)
    """Side in pixels of a square that is set to the mean (arXiv 1708.04552); 0 leaves images whole."""
    mixing: str = choice("none", "mixup", "cutmix")
    """Pairs of images blended (arXiv 1710.09412) or pasted into each other (arXiv 1905.04899), with their labels."""
    mixing_alpha: float = number(1.0, minimum=0.01)
    """Parameter of the Beta distribution of the shares."""
    precision: str = choice("auto", "float32", "bfloat16")
    """`auto`: bfloat16 where the hardware multiplies it natively."""
    checkpoint_seconds: float = number(30.0, minimum=0.0)
    """Write a checkpoint at the first end of a step after this many seconds."""


@dataclass(frozen=True)
class FeaturesConfig:
    """Which views of the images are turned into features."""

    views: int = number(0, minimum=0)
    """Augmented views of the training split, beside the clean one."""
    batch_size: int = number(256, minimum=1)
    """Images of a forward pass."""
    shards: int = number(1, minimum=1, maximum=1000)
    """Parts that the images are split into, each turned into features by a task of its own beside the others; the
    features are the same."""


@dataclass(frozen=True)
class CalibrationConfig:
    """TailCalib (arXiv 2111.05956): how a tail class borrows its distribution from its nearest classes."""

    n_neighbors: int = number(3, minimum=1)
    """K: nearest classes that calibrate a feature."""
    own_class: str = choice("include", "exclude")
    """Whether a feature's own class may be one of them; it usually is the nearest."""
    fill: float = number(1.0, minimum=0.0)
    """How many features are generated, as a share of what each class lacks to the largest; 1 makes all equal."""
    tukey: float = number(1.0, minimum=0.0)
    """Power of Tukey's transform; 1 leaves features as they are, 0 is the logarithm."""
    statistics: str = choice("transformed", "raw")
    """Whether class means and covariances are of the transformed features, or of the `raw` ones as in the paper's code,
    which then mixes two scales. The same when tukey is 1."""
    clip: bool = False
    """Set negative entries of generated features to zero; real features that end in a ReLU have none."""
    alpha: float = number(0.0, minimum=0.0)
    """Added to the calibrated covariance."""
    alpha_on: str = choice("diagonal", "all")
    """Where alpha is added; `all` entries, as the paper's code does."""
    eps: float = number(1e-4, minimum=0.0)
    """Added to the diagonal of the calibrated covariance."""
    shards: int = number(1, minimum=1, maximum=1000)
    """Groups of classes that tasks of their own generate features for side by side; the features are the same."""


@dataclass(frozen=True)
class RetrainingConfig:
    """How each classifier is retrained on the frozen features."""

    methods: tuple[str, ...] = items(
        ("baseline", "crt", "tailcalib", "tailcalibx"), "modals", "logit_adjustment", "tau_norm"
    )
    """One classifier each; gains are counted over the first."""
    epochs: int = number(5, minimum=1)
    """Passes over as many features as the balanced set has."""
    batch_size: int = number(128, minimum=1)
    """Features of a step."""
    learning_rate: float = number(0.01, minimum=0.0)
    """Constant rate of TailCalib and TailCalibX, which go on from the trained head."""
    momentum: float = number(0.7, minimum=0.0, maximum=1.0)
    """Momentum of SGD."""
    weight_decay: float = number(5e-4, minimum=0.0)
    """L2 penalty on the head."""
    crt_learning_rate: float = number(0.2, minimum=0.0)
    """Peak rate of cRT's new head; it starts from scratch, so it needs a larger one and a cosine schedule."""
    crt_batch_norm: str = choice("eval", "train")
    """`train`: cRT's frozen backbone normalises by batch and its averages drift, as in the paper's code."""
    fresh: str = choice("views", "backbone")
    """Where TailCalibX's features of an epoch come from: the next view that was extracted, or the backbone itself on
    images augmented anew."""
    epoch_length: str = choice("balanced", "real")
    """Steps of an epoch of TailCalibX: those of the balanced set, or, as in the paper's code, of the real images."""
    modals_noise: float = number(0.01, minimum=0.0)
    """Noise of MODALS in standard deviations of a class's features."""
    tau: float = number(1.0, minimum=0.0)
    """Strength of the `logit_adjustment` after training (arXiv 2007.07314), and of `tau_norm` (arXiv 1910.09217)."""


@dataclass(frozen=True)
class HessianConfig:
    """Layerwise curvature of the trained network (arXiv 2012.03801), and of each retrained classifier's last layer."""

    curvature: str = choice("hessian", "ggn", "residual")
    """The loss's Hessian; its Gauss-Newton part, which has no negative eigenvalue; or the rest."""
    images_per_class: int = number(1, minimum=1)
    """Training images of a class in the fixed subset."""
    traces: str = choice("probes", "hutch++", "xtrace")
    """Random `probes`, drawn afresh for every few images; `hutch++` (arXiv 2010.09649) and `xtrace` (arXiv 2301.07825)
    are more exact for the same products where few eigenvalues make the trace."""
    probes: int = number(8, minimum=2)
    """Random probes of each trace, products in all for `hutch++` (6 or more) and `xtrace` (4 or more)."""
    exact: bool = False
    """Find all eigenvalues of the layers that allow it, if images times classes are at most 2,048."""
    densities: int = number(6, minimum=0)
    """Layers, spread over depth, whose spectral density is estimated; every layer has its top eigenvalue."""
    lanczos_steps: int = number(20, minimum=2)
    """Most products of each Lanczos run."""
    density_runs: int = number(1, minimum=1)
    """Lanczos runs that a density is averaged over."""
    batch_size: int = number(100, minimum=1)
    """Images of a twice differentiable graph: memory grows with it."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Accuracy by how many training images a class has; the defaults are the paper's thresholds."""

    many_above: int = number(100, minimum=0)
    """A class with more training images counts as many-shot."""
    few_below: int = number(20, minimum=0)
    """A class with fewer training images counts as few-shot."""


@dataclass(frozen=True)
class SweepConfig:
    """Which settings and seed each result of a sweep is of; written by `longtail sweep`, no part of a preset."""

    points: tuple[str, ...] = ()
    """A JSON object for each result, in their order: its `seed`, and under `settings` the value of each swept setting
    as it was given."""
    held: str = "{}"
    """JSON object: the value of each swept setting at which a figure of the others holds it."""


@dataclass(frozen=True)
class PipelineConfig:
    """All of a run: one group a step, and the seed of everything except the choice of images."""

    start: str = choice("images", "features")
    """What the run starts from; `features` reads `table` and trains `head`, and does not need `data`, `backbone` and
    `features`."""
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    retraining: RetrainingConfig = field(default_factory=RetrainingConfig)
    hessian: HessianConfig = field(default_factory=HessianConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    table: TableConfig = field(default_factory=TableConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    promotion: PromotionConfig = field(default_factory=PromotionConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    seed: int = number(1, minimum=0)
    """Each step draws from a child of it."""
