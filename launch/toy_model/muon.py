"""Muon (Jordan et al. 2024): momentum whose update is orthogonalised, for weight matrices; all in
float32."""

import torch


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon` without its bfloat16, which many CPUs do several times more slowly than
    float32."""

    def __init__(
        self,
        params,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
        iterations: int = 5,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "iterations": iterations,
            },
        )

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                nesterov = parameter.grad.lerp(momentum, group["momentum"])
                update = orthogonalise(nesterov, group["iterations"])
                # The factor gives the update about the size of an AdamW step, so both share a
                # learning rate.
                update *= 0.2 * max(parameter.shape) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(
                    update, alpha=group["lr"]
                )


def orthogonalise(matrix: torch.Tensor, iterations: int) -> torch.Tensor:
    """Roughly the nearest semi-orthogonal matrix: singular values end near 0.7 to 1.2
    (Newton-Schulz)."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(iterations):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.775 * gram + 2.0315 * gram @ gram) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
