"""Every branch of every attempt is a sibling."""

from __future__ import annotations

from dataclasses import dataclass, replace

from journeyman.protocols import Credit, Render, Words, words
from journeyman.types import Answer, Attempt, Group, Judgement, Lesson


def unfolded(group: Group) -> Group:
    """The group in which each trace that is marked ``branch_score`` is a sibling of that score (None: an abstention), named by the
    trace's id, of which only the tokens that its own call drew are its own; the mark ``views`` becomes the judgement's components.
    Attempts' own judgements are left out."""
    attempts: list[Attempt] = []
    judgements: list[Judgement] = []
    for a in group.attempts:
        for t in a.traces:
            if "branch_score" in t.marks:
                score = t.marks["branch_score"]
                attempts.append(Attempt(t.id, a.task, Answer(t.text, t.id), (replace(t, parent=None),), seed=a.seed))
                views = t.marks.get("views", {}) if score is not None else {}
                judgements.append(Judgement(t.id, score, "checked" if score is not None else "abstained", components=views))
    assignment = replace(group.assignment, siblings=len(attempts))
    return replace(group, assignment=assignment, attempts=tuple(attempts), judgements=tuple(judgements))


@dataclass(frozen=True)
class over_branches:
    """The inner credit over all branches of a group's attempts (traces marked ``branch_score``): n answers with m branches each
    are n (1 + m) siblings. What a branch copied of another answer is its prompt: it is not learned.

    CURE [S060], Li et al. 2025, arXiv 2508.11016: one group of 4 + 12. Branches of one answer are more alike than answers that
    were drawn apart, so a group's effective size is smaller than it looks.
    """

    inner: Credit

    @property
    def needs(self) -> Words:
        return words("branch_score", "tokens") | (self.inner.needs - words("score", "siblings"))

    @property
    def gives(self) -> Words:
        return self.inner.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        return self.inner(unfolded(group), render)
