import pytest

from longtail.config import DataConfig
from longtail.data.sources import LOADERS, detect_source, load_source
from longtail.errors import InputError


def test_loads_what_the_config_names(parquet_folder, image_folder):
    assert load_source(DataConfig()).name == "digits"
    assert load_source(DataConfig(source="parquet", path=str(parquet_folder()))).name == "toy"
    assert load_source(DataConfig(source="imagefolder", path=str(image_folder()))).name == "folder"


def test_every_source_of_the_configuration_can_be_loaded():
    choices = DataConfig.__dataclass_fields__["source"].metadata["choices"]
    assert set(LOADERS) == set(choices)


def test_unknown_source():
    with pytest.raises(InputError, match="'imagenet': choose from digits, parquet"):
        load_source(DataConfig(source="imagenet"))


def test_detects_what_lies_there(parquet_folder, image_folder, tmp_path):
    assert detect_source(str(parquet_folder())) == "parquet"
    parquet_folder(folder="hub/data")
    assert detect_source(str(tmp_path / "hub")) == "parquet"
    assert detect_source(str(image_folder(test_name="validation"))) == "imagefolder"
    for name, folder in (("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")):
        (tmp_path / name / folder).mkdir(parents=True)
        assert detect_source(str(tmp_path / name)) == name


def test_detects_what_has_no_test_split(parquet_folder, class_folder, image_folder):
    folder = parquet_folder()
    for file in folder.glob("test*"):
        file.unlink()
    assert detect_source(str(folder)) == "parquet"
    assert detect_source(str(class_folder(cat=2, dog=1))) == "imagefolder"
    root = image_folder()
    (root / "train.parquet").write_bytes(b"")
    assert detect_source(str(root)) == "imagefolder"


def test_detects_mini_imagenet_by_wordnet_ids(imagenet_folder):
    flat, folders = imagenet_folder(), imagenet_folder(flat=False, name="folders")
    assert detect_source(str(flat)) == detect_source(str(folders)) == "mini_imagenet"
    assert detect_source(str(folders), "mini_imagenet") == "mini_imagenet"
    assert detect_source(str(folders), "imagefolder") == "imagefolder"
    assert detect_source(str(flat), "imagefolder") == "mini_imagenet"
    (folders / "train").mkdir()
    (folders / "n01532829").rename(folders / "train" / "n01532829")
    assert detect_source(str(folders), "mini_imagenet") == "imagefolder"


def test_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"looked for train\*.parquet .* train/CLASS/ .* cifar-100-python"):
        detect_source(str(tmp_path))
    with pytest.raises(InputError, match="nowhere' is not a folder"):
        detect_source(str(tmp_path / "nowhere"))
