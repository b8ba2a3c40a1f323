"""mini-ImageNet-LT: images of ILSVRC-2012's training split, of the 100 classes of the few-shot benchmark.

Vigneswaran et al. 2021 (arXiv 2111.05956) take 500 images of a class for training, which the exponential profile then
cuts, 100 for validation and 100 for testing. The splits of their code overlap for ten of the classes (about a hundred
test images were trained on), and neither their seed nor their lists were published; ours are disjoint, and the same for
the same `data.split_seed`. The usual 84x84 release has 600 images a class, too few for this.
"""

import os
import re

from longtail.config import DataConfig
from longtail.data.folders import Folder, file_names, local_file, open_folder
from longtail.data.imagefolder import class_folders, file_table, image_files
from longtail.data.tables import Parts, Source
from longtail.errors import InputError

CLASSES = 100
PARTS = Parts(train=500, validation=100, test=100)
LIST = "classes.txt"
_WORDNET_ID = re.compile(r"n\d{8}")
_FLAT_NAME = re.compile(r"(n\d{8})_.+")


def load(config: DataConfig) -> Source:
    """Return the images of a folder; classes are sorted WordNet ids, as in the authors' code.

    They lie in the folder itself, named like `n01532829_1234.JPEG`, or in a folder for each class like `n01532829/`;
    the rows, and so what is chosen, are the same in both layouts. If there is a `classes.txt`, only the WordNet ids in
    it are read, one a line.

    Raises:
        InputError: If there are no such images, or none of a class in the list.
    """
    root = open_folder(config.path)
    found = class_files(root) if config.path else {}
    if not found:
        raise InputError(
            f"data.path is {config.path!r}: give a folder with ILSVRC-2012 training images as n01532829_1234.JPEG, or "
            "in class folders such as n01532829/"
        )
    remark = (
        f"{root} has {len(found)} classes, mini-ImageNet has {CLASSES}: to use a part of a larger folder, list its "
        f"WordNet ids in {root / LIST}"
    )
    files = [os.fsencode(file) for names in found.values() for file in names]
    labels = [label for label, names in enumerate(found.values()) for _ in names]
    table, names = file_table(root, files, labels), tuple(found)
    return Source(root.name, names, table, None, PARTS, remark if len(names) != CLASSES else "")


def class_files(root: Folder) -> dict[str, list[str]]:
    """Return the image files of each class, both sorted, as paths in the folder.

    Raises:
        InputError: If a class of `classes.txt` has no image, or the file holds something else.
    """
    wanted = _listed(root)
    found: dict[str, list[str]] = {}
    for name in class_folders(root):
        if _WORDNET_ID.fullmatch(name) and (not wanted or name in wanted):
            found[name] = [f"{name}/{file}" for file in image_files(root / name)]
    for file in image_files(root):
        match = _FLAT_NAME.fullmatch(file)
        if match and (not wanted or match[1] in wanted):
            found.setdefault(match[1], []).append(file)
    if missing := sorted(wanted - found.keys()):
        raise InputError(f"{root} has no images of {len(missing)} classes in {LIST}, such as {missing[0]}: add them")
    return {name: sorted(found[name], key=os.path.basename) for name in sorted(found)}


def layout(root: Folder) -> str:
    """Return `flat` or `folders` for images of ImageNet in one of the two layouts, and nothing for anything else."""
    files, folders = image_files(root), class_folders(root)
    if files and not folders and all(_FLAT_NAME.fullmatch(name) for name in files):
        return "flat"
    if folders and not files and all(_WORDNET_ID.fullmatch(name) for name in folders):
        return "folders"
    return ""


def _listed(root: Folder) -> set[str]:
    """Return the WordNet ids in a folder's list, none if it has no list."""
    if LIST not in file_names(root):
        return set()
    text = local_file(root, LIST).read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    names = {line for line in lines if line}
    if wrong := sorted(name for name in names if not _WORDNET_ID.fullmatch(name)):
        raise InputError(f"{root / LIST} has the line {wrong[0]!r}: write one WordNet id a line, such as n01532829")
    return names
