"""Muon for the matrices inside the layers, AdamW for the embedding and the norms."""

import torch
from torch import Tensor, nn

# Quintic Newton-Schulz coefficients of Muon (Jordan et al. 2024): steepest at zero, singular values end near 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@torch.compile(dynamic=False)
def orthogonalize(gradient: Tensor) -> Tensor:
    """gradient: [count, rows, cols] with rows <= cols -> nearly orthogonal matrices of the same span."""
    a, b, c = COEFFICIENTS
    x = gradient.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Momentum, then orthogonalization. The factor 0.2 sqrt(max(rows, cols)) gives the update Adam's size (Liu et al. 2025)."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95):
        super().__init__(parameters, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                self.step_same_shape(shape, parameters, group)

    def step_same_shape(self, shape: torch.Size, parameters: list[nn.Parameter], group: dict) -> None:
        gradient = torch.stack([parameter.grad for parameter in parameters])
        state = self.state[parameters[0]]
        momentum = state.setdefault("momentum", torch.zeros_like(gradient))
        momentum.lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(momentum, group["momentum"])
        tall = shape[0] > shape[1]
        update = orthogonalize(update.mT.contiguous() if tall else update)
        update = (update.mT if tall else update).float()
        step_size = -group["lr"] * 0.2 * max(shape) ** 0.5
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, list(update.unbind(0)), alpha=step_size)


def optimizers(model: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    embeddings = [p for n, p in model.named_parameters() if "embed" in n]
    vectors = [p for n, p in model.named_parameters() if p.dim() == 1]
    adam_groups = [
        {"params": embeddings, "weight_decay": weight_decay * 0.1},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [
        Muon(matrices, lr=lr, weight_decay=weight_decay),
        torch.optim.AdamW(adam_groups, lr=lr, betas=(0.9, 0.95), eps=1e-10, fused=True),
    ]
