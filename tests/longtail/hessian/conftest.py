"""Small float64 networks and an oracle that shares no code with the package: dense second derivatives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SEED = 5


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Threads cost more than they give on networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Normalised(nn.Module):
    """A cosine classifier: not piecewise affine in its weight nor in its input."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return 5 * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


def mean_square(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs, F.one_hot(targets, outputs.shape[1]).to(outputs))


def mlp(activation: type[nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), activation(), nn.Linear(6, 4), activation(), nn.Linear(4, 3))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 1, 5)),
        nn.Conv2d(1, 3, (1, 3), padding=(0, 1), bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(15, 3),
    )


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[Tensor, Tensor], Tensor]]] = {
    "relu mlp, cross-entropy": (lambda: mlp(nn.ReLU), F.cross_entropy),
    "relu mlp, squares": (lambda: mlp(nn.ReLU), mean_square),
    "tanh mlp, cross-entropy": (lambda: mlp(nn.Tanh), F.cross_entropy),
    "cnn with bn, smoothed": (cnn, lambda o, t: F.cross_entropy(o, t, label_smoothing=0.1)),
    "cosine head": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), Normalised(4, 3)),
        F.cross_entropy,
    ),
}


class Case:
    """A network, its loss and data, with the exact Hessian of the mean loss."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(SEED)
        build, self.loss = CASES[name]
        self.name = name
        self.model = build().double()
        for parameter in self.model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        self.model.eval()
        self.inputs = torch.randn(23, 5, dtype=torch.float64)
        self.targets = torch.randint(0, 3, (23,))
        self.parameters = dict(self.model.named_parameters())
        self.weights = [name for name, value in self.parameters.items() if value.dim() > 1]

    def batches(self, *sizes: int) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.inputs.split(list(sizes)), self.targets.split(list(sizes)), strict=True))

    def hessian(self) -> Tensor:
        return dense_hessian(self.model, self.loss, self.inputs, self.targets)

    def slices(self) -> dict[str, slice]:
        found, start = {}, 0
        for name, value in self.parameters.items():
            found[name] = slice(start, start + value.numel())
            start += value.numel()
        return found

    def block(self, name: str) -> Tensor:
        place = self.slices()[name]
        return self.hessian()[place, place]

    def outputs_jacobian(self) -> Tensor:
        """(N, C, P)."""
        flat, call = flattened(self.model)
        return torch.func.jacrev(lambda theta: call(theta, self.inputs))(flat)


def flattened(model: nn.Module) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
    parameters = dict(model.named_parameters())

    def call(theta: Tensor, inputs: Tensor) -> Tensor:
        pieces = theta.split([value.numel() for value in parameters.values()])
        values = {name: piece.view_as(parameters[name]) for name, piece in zip(parameters, pieces, strict=True)}
        return torch.func.functional_call(model, values, (inputs,))

    return torch.cat([value.detach().reshape(-1) for value in parameters.values()]), call


def dense_hessian(
    model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor
) -> Tensor:
    """(P, P), by forward over reverse differentiation of the whole loss in one flat vector."""
    flat, call = flattened(model)
    return torch.func.hessian(lambda theta: loss(call(theta, inputs), targets))(flat).detach()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture
def make_case() -> type[Case]:
    return Case


@pytest.fixture
def dense() -> Callable[..., Tensor]:
    return dense_hessian


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)
