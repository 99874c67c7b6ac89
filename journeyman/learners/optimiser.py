"""AdamW over the weights that train, with float32 masters for weights of lower precision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

FULL = (torch.float32, torch.float64)


class Optimiser:
    """AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101); ``weight_decay`` falls on matrices, not on vectors.

    A bfloat16 weight near 1 cannot move by less than 2^-8, far more than a step of a small learning rate; so each weight
    below float32 has a float32 master that is stepped and then rounded into it.
    """

    def __init__(self, trained: Iterable[tuple[str, Tensor]], betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        self.weights = dict(trained)
        if not self.weights:
            raise ValueError("the policy has no weights that train; unfreeze some, or leave its learner out of the run")
        self.masters = {n: w if w.dtype in FULL else w.detach().float().requires_grad_() for n, w in self.weights.items()}
        matrices = [m for m in self.masters.values() if m.dim() > 1]
        vectors = [m for m in self.masters.values() if m.dim() <= 1]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=betas, eps=eps)

    def step(self, lr: float, max_norm: float | None) -> float | None:
        """Clip the gradients to a total norm, move the weights, drop the gradients. Returns the norm before clipping; None
        where it was not finite, and then no weight and no moment has changed."""
        for name, master in self.masters.items():
            grad = self.weights[name].grad
            master.grad = grad if grad is None or master is self.weights[name] else grad.float()
        self._follow()
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters.values(), math.inf if max_norm is None else max_norm))
        if math.isfinite(norm):
            for group in self.adamw.param_groups:
                group["lr"] = lr
            self.adamw.step()
            self._round()
        self.clear()
        return norm if math.isfinite(norm) else None

    @torch.no_grad()
    def _follow(self) -> None:
        """Take over into the masters what somebody else wrote into the weights (merging, ``load_weights``)."""
        for name, master in self.masters.items():
            weight = self.weights[name]
            if master is not weight:
                master.copy_(torch.where(master.to(weight.dtype) == weight, master, weight.float()))

    @torch.no_grad()
    def _round(self) -> None:
        for name, master in self.masters.items():
            if master is not self.weights[name]:
                self.weights[name].copy_(master)

    def clear(self) -> None:
        """Drop every gradient."""
        for name, master in self.masters.items():
            master.grad = self.weights[name].grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Moments and masters as NAME/exp_avg, NAME/exp_avg_sq, NAME/step, NAME/master."""
        found: dict[str, Tensor] = {}
        for name, master in self.masters.items():
            found |= {f"{name}/{k}": v for k, v in self.adamw.state.get(master, {}).items()}
            if master is not self.weights[name]:
                found[f"{name}/master"] = master.detach()
        return found

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave; ValueError names what does not belong to these weights."""
        state: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            name, _, kind = key.rpartition("/")
            if name not in self.masters or (kind != "step" and tensor.shape != self.masters[name].shape):
                raise ValueError(f"the learner's tensors do not fit this policy: {key} of shape {tuple(tensor.shape)}")
            state.setdefault(name, {})[kind] = tensor
        self.adamw.state.clear()
        for name, kinds in state.items():
            master = self.masters[name]
            if "master" in kinds:
                master.copy_(kinds.pop("master"))
            if kinds:
                self.adamw.state[master] = {
                    k: v.clone() if k == "step" else v.detach().to(master, copy=True) for k, v in kinds.items()
                }
