import dataclasses

import pytest
import torch

from longtail.config import BackboneConfig, DistillationConfig, LossConfig
from longtail.networks import build
from longtail.training.distillation import Distillation, teacher_recipe

CBD = DistillationConfig(weight=0.8, scale=100)


@pytest.fixture
def teacher(make_spec):
    return build(make_spec(network="small_cnn", head="cosine"), seed=3)


def test_teacher_is_trained_plainly_by_the_same_recipe():
    student = BackboneConfig(epochs=7, loss=LossConfig(sampler="class_aware"), distillation=CBD)
    assert teacher_recipe(student) == BackboneConfig(epochs=7)


def test_loss_is_the_formula_of_the_paper(teacher):
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    features = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    loss = Distillation(teacher, CBD)(torch.tensor(2.0), features, images)
    with torch.no_grad():
        target = teacher.eval().backbone(images)
    cosines = [
        float(student @ taught / student.norm() / taught.norm())
        for student, taught in zip(features, target, strict=True)
    ]
    assert float(loss) == pytest.approx(0.2 * 2 + 0.8 * 100 * (1 - sum(cosines) / 5), rel=1e-5)


def test_student_that_points_as_the_teacher_pays_nothing(teacher):
    images = torch.rand(5, 1, 8, 8)
    target = teacher.eval().backbone(images).detach()
    assert float(Distillation(teacher, CBD)(torch.tensor(0.0), 3 * target, images)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_teacher_learns_nothing_and_its_averages_move_only_if_asked(teacher, mode):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    distillation = Distillation(teacher, dataclasses.replace(CBD, teacher_batch_norm=mode))
    features = torch.randn(5, 64, requires_grad=True)
    distillation(torch.tensor(1.0), features, torch.rand(5, 1, 8, 8)).backward()
    assert features.grad.abs().sum() > 0
    moved = {name for name, value in teacher.state_dict().items() if not torch.equal(value, before[name])}
    assert bool(moved) == (mode == "train")
    assert all("running" in name or "num_batches" in name for name in moved)
    assert all(parameter.grad is None for parameter in teacher.parameters())
