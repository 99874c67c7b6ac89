"""Critique-GRPO: a refinement of an answer joins the first answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from journeyman.credit.rules import centred
from journeyman.credit.sampled import Rule, lesson, warmth
from journeyman.credit.with_demonstration import marked
from journeyman.protocols import Render, words
from journeyman.types import Attempt, Group, Lesson, Trace

Try = tuple[Attempt, Trace, float]  # a turn and its score


@dataclass(frozen=True)
class with_refinement:
    """The first answers of a group and its ``keep`` best refinements as siblings: advantage = rule(their scores)[sibling].

    A first answer is learned where it was drawn; a refinement (any later try of a conversation) is put under the plain prompt, so
    that neither the critique nor the first answer is learned from. The stream ``off_policy`` is 1 at refinements and 0 elsewhere;
    the ratio ``demonstrated`` reads it. Refinements of highest score come first, then attempt ids; a wrong one counts with its
    score. Where all first answers are wrong a right refinement still teaches. Tries without a score are left out.

    What the first answers were told is the strategy's: nothing but that they were wrong (``retry_until_right``), or a critique of
    any kind (``critiqued``). What a refinement itself says of its critique is learned with it.

    Critique-GRPO: [S063] Zhang et al. 2025, arXiv 2506.03106 (7 first answers and 1 refinement; R - mean, gamma 0.1, no clip).
    Differs from the paper in what there is to keep: with these strategies only wrong answers were refined (all there).
    """

    rule: Rule = centred
    keep: int = 1
    policy: str = "policy"
    needs = words("tokens", "turn_score")
    gives = words("lessons", "advantage", "off_policy", "term.rl")

    def __post_init__(self) -> None:
        if self.keep < 0:
            raise ValueError(f"with_refinement has keep={self.keep}, expected at least 0")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        tried = [scored_tries(a) for a in group.attempts]
        first = [x[0] for x in tried if x]
        later = sorted((t for x in tried for t in x[1:]), key=lambda t: (-t[2], t[0].id, t[1].id))[: self.keep]
        if len(first) + len(later) < 2:
            return []
        advantages = self.rule(np.array([s for *_, s in (*first, *later)], dtype=np.float64)).tolist()
        made: list[Lesson] = []
        for (attempt, trace, _), a in zip(first, advantages, strict=False):
            own = tuple(s and t >= trace.start for t, s in enumerate(trace.sampled))
            made.append(marked(lesson(group, attempt, trace, warmth(trace), own, a), 0.0))
        for (attempt, trace, _), a in zip(later, advantages[len(first) :], strict=True):
            tokens, train = render([*group.task.prompt, {"role": "assistant", "content": trace.text}], self.policy)
            credit = tuple(a * t for t in train)
            name = f"{attempt.id}/refinement"
            made.append(marked(Lesson(tokens, train, credit, policy=self.policy, group=group.id, attempt=name), 1.0))
        return made


def scored_tries(attempt: Attempt) -> list[Try]:
    """The turns of an attempt's conversation that were scored, first to last; none where the first was not."""
    turns = attempt.lineage(attempt.answer.trace if attempt.answer else None)
    scored = [(attempt, t, t.marks.get("turn_score")) for t in turns]
    if not scored or scored[0][2] is None:
        return []
    return [(a, t, float(s)) for a, t, s in scored if s is not None]
