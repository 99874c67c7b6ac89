"""A proximal step of the regularised preference game: win against an opponent without leaving the anchors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.answers import row_log_ratio, row_logp
from journeyman.objectives.common import LARGEST, at_least, over_tokens, stream, whole
from journeyman.protocols import Schedule, value, words


@dataclass(frozen=True)
class nash:
    """loss = -mean over lessons of detach(w * (A - beta * (logp - ref_logp) - beta / eta * (logp - old_logp))) * logp, logp summed
    over the answer's tokens and w = min(exp(logp - behaviour_logp), cap).

    With A = P(y beats the opponent's answers) - 1/2 (``win_rate``) its expected gradient is that of one proximal step of
    Nash-MP: maximise P - beta KL(policy || reference) - beta / eta KL(policy || policy before the step), old_logp being that
    policy. ``mirror_prox`` as the learner takes the two steps, the second against what the first one gave.

    [S177] Nash-MP, Tiapkin et al. 2025, arXiv 2505.19731. Differs from the paper in sampling both answers of the second step from
    the half-step policy (w corrects for it), and in the cap of w. Its settings for language models were not verified (low
    confidence). Metrics: kl_ref and kl_old (mean over tokens of the log-ratios), weight (mean of w over tokens).
    """

    beta: float | Schedule = 0.1
    eta: float | Schedule = 1.0
    cap: float = 2.0
    needs = words("lessons", "advantage", "forward.logp", "ref_logp", "old_logp", "behaviour_logp")
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("nash", "beta", self.beta, 0)
        at_least("nash", "cap", self.cap, 1)
        if isinstance(self.eta, int | float) and not self.eta > 0:
            raise ValueError(f"nash has eta={self.eta}, expected a number above 0")

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logp = row_logp(batch)  # (B)
        trained = batch.train.sum(1).clamp(min=1)
        won = torch.where(batch.train, batch.advantage, 0.0).sum(1) / trained  # one value for the whole answer
        w = row_log_ratio(batch, "behaviour_logp").detach().clamp(-LARGEST, LARGEST).exp().clamp(max=self.cap)
        beta = value(self.beta)
        pull = beta * row_log_ratio(batch, "ref_logp") + beta / value(self.eta) * row_log_ratio(batch, "old_logp")
        coefficient = (w * (won - pull) * batch.weight).detach()
        loss = -(coefficient * logp).sum() / max(whole(batch).sequences, 1.0)
        metrics = {f"kl_{k}": over_tokens(batch.logp - stream(batch, f"{k}_logp"), batch) for k in ("ref", "old")}
        return loss, metrics | {"weight": over_tokens(w[:, None].expand(batch.train.shape), batch)}
