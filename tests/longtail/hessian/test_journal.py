import pytest
import torch
from torch import nn

from longtail.errors import InputError
from longtail.hessian.journal import Journal, digest


class Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.float64)}


def test_computes_once_and_goes_on(tmp_path):
    compute = Counted()
    first = Journal(tmp_path / "a", "q").result("x", compute)
    second = Journal(tmp_path / "a", "q").result("x", compute)
    assert compute.calls == 1
    assert all(torch.equal(first[name], second[name]) for name in first)
    Journal(tmp_path / "a", "q").result("y", compute)
    assert compute.calls == 2


def test_another_question_starts_anew(tmp_path):
    compute = Counted()
    Journal(tmp_path, "q").result("x", compute)
    Journal(tmp_path, "other").result("x", compute)
    assert compute.calls == 2


def test_half_written_results_count_for_nothing(tmp_path):
    compute = Counted()
    journal = Journal(tmp_path, "q")
    journal.result("x", compute)
    path = tmp_path / "x.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    assert torch.equal(journal.result("x", compute)[""], torch.arange(3.0))
    assert compute.calls == 2
    with pytest.raises(ZeroDivisionError):
        journal.result("z", lambda: 1 / 0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["question.json", "x.safetensors"]


def test_closing_removes_the_folder(tmp_path):
    Journal(tmp_path / "a", "q").close()
    assert not (tmp_path / "a").exists()
    without = Journal(None, "q")
    assert torch.equal(without.result("x", Counted())[""], torch.arange(3.0))
    without.close()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("1")
    with pytest.raises(InputError, match="is not empty and no journal"):
        Journal(tmp_path, "q")
    assert (tmp_path / "precious").exists()


def test_the_digest_sees_weights_buffers_and_settings():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    digests = {digest(model, [1]), digest(model, [2])}
    model[1].running_mean += 1
    digests.add(digest(model, [1]))
    model[0].weight.data += 1
    digests.add(digest(model, [1]))
    assert len(digests) == 4
    assert digest(model, [1]) in digests
    model[0].weight = model[1].weight  # tied
    assert digest(model, [1]) not in digests
