"""Build the images with Docker or podman, store what they hold beside this file, push them and write images.json.

`make images` calls it. BUILD_FLAGS in the environment goes to the engine's `build` as it is, for a network, a proxy's
certificates or pip's settings: they are used while it builds and nothing of them stays.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
IMAGES = FOLDER / "images.json"
SBOM = "/usr/share/doc/longtail/sbom.cdx.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code, after building and, if asked to, pushing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", choices=("cpu", "cuda"))
    parser.add_argument("--engine", choices=("docker", "podman"), required=True)
    parser.add_argument("--base-image", default="", metavar="IMAGE", help="default: the Dockerfile's")
    parser.add_argument("--push", default="", metavar="REGISTRY/FOLDER", help="push there, and write the digest")
    arguments = parser.parse_args(argv)
    entries = json.loads(IMAGES.read_text(encoding="utf-8")) if IMAGES.is_file() else {}
    try:
        for variant in arguments.variants:
            entry = {"name": f"longtail/python-{variant}", "tag": version("longtail"), "digest": ""}
            build(arguments.engine, variant, reference(entry), arguments.base_image)
            if arguments.push:
                local, entry["name"] = reference(entry), f"{arguments.push.rstrip('/')}/{entry['name']}"
                entry["digest"] = push(arguments.engine, local, entry)
            entries[variant] = entry
    except subprocess.CalledProcessError as error:
        print(f"error: {arguments.engine} {error.cmd[1]} failed, see above", file=sys.stderr)
        return 1
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(entries.items()))
    IMAGES.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    return 0


def reference(entry: dict[str, str]) -> str:
    """Return an image's name with its tag."""
    return f"{entry['name']}:{entry['tag']}"


def build(engine: str, variant: str, image: str, base_image: str) -> None:
    """Build an image, say its size and copy the list of what it holds to this folder."""
    arguments = {
        "VARIANT": variant,
        "VERSION": version("longtail"),
        "COMMIT": _git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"),
        "CREATED": _git("log", "-1", "--format=%cI"),  # the commit's time: the same source gives the same labels
        **({"BASE_IMAGE": base_image} if base_image else {}),
    }
    given = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    flags = shlex.split(os.environ.get("BUILD_FLAGS", ""))
    file = ["--file", str(FOLDER / "Dockerfile")]
    subprocess.run([engine, "build", *flags, *given, *file, "--tag", image, str(ROOT)], check=True)
    run = [engine, "run", "--rm", "--network", "none", "--read-only", image, "cat", SBOM]
    (FOLDER / f"sbom-{variant}.cdx.json").write_bytes(subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout)
    size = _output(engine, "image", "inspect", "--format", "{{.Size}}", image)
    print(f"{image}  {int(size) / 1e9:.2f} GB")


def push(engine: str, local: str, entry: dict[str, str]) -> str:
    """Return the digest that a registry has an image by, after pushing it there."""
    image = reference(entry)
    subprocess.run([engine, "tag", local, image], check=True)
    subprocess.run([engine, "push", image], check=True)
    # What the registry stores is compressed, so only its own answer tells the digest.
    subprocess.run([engine, "pull", "--quiet", image], check=True, stdout=subprocess.DEVNULL)
    digests = json.loads(_output(engine, "image", "inspect", "--format", "{{json .RepoDigests}}", image))
    return next(digest.partition("@")[2] for digest in digests if digest.startswith(f"{entry['name']}@"))


def _git(*arguments: str) -> str:
    return _output("git", "-C", str(ROOT), *arguments)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
