"""The likelihood methods as one loss with chosen factors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.clips import no_clip
from journeyman.objectives.common import Clip, Ratio, Reduce, over_tokens, trained_logp, whole
from journeyman.objectives.ratios import on_policy
from journeyman.objectives.reducers import token_mean
from journeyman.protocols import Words, needs_of, words


@dataclass(frozen=True)
class surrogate:
    """loss = -reduce(detach(clip * ratio * correction) * advantage * logp).

    Its gradient is that of the named method; its value is not (a log-probability times a constant), so watch the reward.
    REINFORCE, RLOO: (no_clip, on_policy) · PPO, GRPO, DAPO: (ppo_clip, over_old) · GSPO: (ppo_clip(3e-4, 4e-4),
    sequence_ratio, sequence_mean) · CISPO: (cap, over_old) · DFT: (no_clip, probability). ``correction`` is a ratio that
    the clip does not see, such as ``truncated(2.0)``.

    The view that these methods differ only in such factors: [S183] Lv et al. 2025, arXiv 2509.04419. Metrics, over trained
    tokens with signal: ``clip_fraction`` (multiplier is not 1) and ``ratio`` (mean).
    """

    clip: Clip = no_clip
    ratio: Ratio = on_policy
    reduce: Reduce = token_mean
    correction: Ratio = on_policy
    gives = words()
    skips_zero = True

    @property
    def needs(self) -> Words:
        factors = (self.clip, self.ratio, self.reduce, self.correction)
        return words("lessons", "advantage", "forward.logp").union(*map(needs_of, factors))

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        ratio = self.ratio(batch)  # (B, T)
        kept = self.clip(ratio, batch.advantage)  # (B, T)
        coefficient = (kept * ratio * self.correction(batch)).detach()
        loss = -self.reduce(coefficient * batch.advantage * trained_logp(batch), batch, whole(batch))
        return loss, {"clip_fraction": over_tokens((kept != 1).double(), batch), "ratio": over_tokens(ratio, batch)}
