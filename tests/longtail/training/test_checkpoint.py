import os

import pytest
import torch

from longtail.training import checkpoint as module
from longtail.training.checkpoint import furthest_checkpoint, load_checkpoint, progress, save_checkpoint


def save(path, value):
    tensors = {"weight": torch.full((3, 2), float(value)), "steps": torch.tensor(value)}
    save_checkpoint(path, tensors, {"epoch": value, "step": 0, "sums": [0.5, float("nan")]})


def epoch(path):
    found = load_checkpoint(path)
    return None if found is None else found[1]["epoch"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints" / "run.safetensors"


def test_round_trip_is_bit_equal(path):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "weight": torch.randn(4, 3, 3, 3, generator=generator).to(memory_format=torch.channels_last),
        "half": torch.randn(5, generator=generator).bfloat16(),
        "count": torch.tensor(7),
    }
    save_checkpoint(path, tensors, {"epoch": 3, "loss": 0.1})
    loaded, position = load_checkpoint(path)
    assert position == {"epoch": 3, "loss": 0.1}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert all(loaded[name].dtype == tensors[name].dtype for name in tensors)


def test_nothing_to_load(path):
    assert load_checkpoint(path) is None


def test_newest_is_read_and_one_before_it_stays(path):
    for value in (1, 2, 3):
        save(path, value)
    assert epoch(path) == 3
    assert epoch(path.with_name("run.safetensors.previous")) == 2
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["run.safetensors", "run.safetensors.previous"]


def truncate(data):
    return data[: len(data) // 2]


def garble_header(data):
    return data[:8] + b"!" + data[9:]


@pytest.mark.parametrize("damage", [truncate, garble_header, lambda _: b"", lambda _: b"x" * 100])
def test_damaged_newest_falls_back_to_the_one_before(path, damage, caplog):
    save(path, 1)
    save(path, 2)
    path.write_bytes(damage(path.read_bytes()))
    assert epoch(path) == 1
    assert "run.safetensors is not readable" in caplog.text
    previous = path.with_name("run.safetensors.previous")
    previous.write_bytes(damage(previous.read_bytes()))
    assert load_checkpoint(path) is None


def test_safetensors_without_a_position_is_no_checkpoint(path):
    from safetensors.torch import save_file

    path.parent.mkdir()
    save_file({"weight": torch.zeros(2)}, path)
    assert load_checkpoint(path) is None


@pytest.mark.parametrize("replacements", [0, 1])
def test_stop_between_the_renames_loses_nothing(path, monkeypatch, replacements):
    save(path, 1)
    save(path, 2)
    done = []

    def replace(source, target):
        if len(done) == replacements:
            raise KeyboardInterrupt
        done.append(target)
        os.rename(source, target)

    monkeypatch.setattr(module.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        save(path, 3)
    monkeypatch.undo()
    assert epoch(path) == 2
    save(path, 4)
    assert epoch(path) == 4
    assert len(list(path.parent.iterdir())) == 2  # what the stop left behind was used up


class Copies:
    """What another machine put into a store, the furthest first."""

    url = "s3://bucket/key"

    def __init__(self, folder, *made):
        self.folder, self.made, self.asked = folder, made, None

    def further(self, than, folder):
        self.asked = than
        for write in self.made:
            write(self.folder / "fetched")
            yield self.folder / "fetched"


def test_the_further_of_here_and_elsewhere_is_taken(path, tmp_path):
    assert furthest_checkpoint(path, None) is None
    assert furthest_checkpoint(path, Copies(tmp_path)) is None
    save(path, 1)
    copies = Copies(tmp_path)
    found, origin = furthest_checkpoint(path, copies)
    assert (found[1]["epoch"], origin, copies.asked) == (1, str(path), (1, 0))
    found, origin = furthest_checkpoint(path, Copies(tmp_path, lambda file: save(file, 5)))
    assert (found[1]["epoch"], origin) == (5, "s3://bucket/key")
    assert (epoch(path), epoch(path.with_name("run.safetensors.previous"))) == (5, 1)


def test_a_copy_that_is_not_readable_leaves_the_one_before_it(path, tmp_path, caplog):
    path.parent.mkdir()
    copies = Copies(tmp_path, lambda file: file.write_bytes(b"half"), lambda file: save(file, 3))
    assert furthest_checkpoint(path, copies)[0][1]["epoch"] == 3
    assert "fetched is not readable" in caplog.text


def test_progress_is_ordered():
    assert progress({"epoch": 1, "step": 9}) < progress({"epoch": 2, "step": 0}) < progress({"epoch": 2, "step": 1})
