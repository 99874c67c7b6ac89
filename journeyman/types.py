"""The nouns: frozen dataclasses that every part reads and writes, and nothing else.

They serialise to JSON as they stand (``to_json`` / ``from_json``) and change only through
``dataclasses.replace``. Lengths: L tokens in a trace or lesson, G siblings in a group, K targets a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")
Message = dict[str, str]  # {"role": "user", "content": "..."}
Prompt = tuple[Message, ...]
Status = Literal["checked", "abstained", "timed_out", "failed"]
Stop = Literal["end", "stop", "length", "context", "cancelled", "error"]


def user(content: str) -> Prompt:
    """A prompt of one user message."""
    return ({"role": "user", "content": content},)


# ---------------------------------------------------------------------------------------- tasks


@dataclass(frozen=True)
class Question:
    """What a strategy may see of a task. ``extract`` names how a final answer is read from a text."""

    id: str
    prompt: Prompt
    extract: str = "text"
    source: str = ""
    level: int = 0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A question with its answer. The answer is opaque to all but feedback (gold text, tests, an entry to score);
    ``solution`` is a worked solution where the source has one, for oracle strategies."""

    id: str
    prompt: Prompt
    answer: Any = None
    extract: str = "text"
    source: str = ""
    level: int = 0
    tags: tuple[str, ...] = ()
    solution: str | None = None

    @property
    def question(self) -> Question:
        return Question(self.id, self.prompt, self.extract, self.source, self.level, self.tags)


@dataclass(frozen=True)
class Assignment:
    """What a curriculum hands out: a task, how many siblings try it, and values of moving hyperparameters."""

    task: Task
    siblings: int = 1
    knobs: Mapping[str, float] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------- attempts


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. ``temperature`` 0 is greedy. ``stop`` strings end a sample and stay in its text."""

    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trace:
    """One token sequence as one model saw it.

    ``tokens`` (L) is the whole sequence, prompt and ancestors included; empty from text-only endpoints.
    ``sampled`` (L) is true where the policy drew the token (in this call or an ancestor); ``start`` is the first
    position this call drew: ``sampled[start:]`` is all true. ``logp`` (L) is the log-probability
    (nats) of a drawn token under softmax(logits / temperature) before top-p (temperature 1 when greedy), else 0.
    ``version`` (L) is the weight version that drew each token (weights may change in flight), -1 where not drawn.
    ``text`` is what this call drew. ``id`` is the call's path in its attempt; ``parent`` the id it continues.
    """

    id: str
    policy: str = "policy"
    role: str = "solver"
    prompt: Prompt = ()
    text: str = ""
    tokens: tuple[int, ...] = ()
    sampled: tuple[bool, ...] = ()
    logp: tuple[float, ...] = ()
    version: tuple[int, ...] = ()
    start: int = 0
    sampling: Sampling = Sampling()
    stop_reason: Stop = "end"
    parent: str | None = None
    marks: Mapping[str, Any] = field(default_factory=dict)
    streams: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    prompt_tokens: int = 0  # tokens read by this call (what a budget is charged for, besides those drawn)
    sampled_tokens: int = 0  # tokens drawn by this call


@dataclass(frozen=True)
class Answer:
    """What a strategy returns. ``trace`` is the id of the trace that holds the text; ``candidates`` all that it
    chose from; ``confidence`` the selector's own, in [0, 1]."""

    text: str
    trace: str | None = None
    candidates: tuple[Answer, ...] = ()
    confidence: float | None = None


@dataclass(frozen=True)
class Cost:
    """What an attempt spent, counted by the runner. ``compute`` = sum over calls of (prompt + sampled tokens) x parameters."""

    prompt_tokens: int = 0
    sampled_tokens: int = 0
    calls: int = 0
    compute: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.prompt_tokens + other.prompt_tokens,
            self.sampled_tokens + other.sampled_tokens,
            self.calls + other.calls,
            self.compute + other.compute,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Attempt:
    """One run of a strategy on one assignment: its answer, every trace it spent, or an error."""

    id: str
    task: str
    answer: Answer | None
    traces: tuple[Trace, ...] = ()
    error: str | None = None
    seed: int = 0
    cost: Cost = Cost()

    def trace(self, id: str | None) -> Trace | None:
        """The trace with this id, or None."""
        return next((t for t in self.traces if t.id == id), None)

    def lineage(self, id: str | None) -> tuple[Trace, ...]:
        """The trace with this id and its ancestors, oldest first."""
        known = {t.id: t for t in self.traces}
        line: list[Trace] = []
        while id is not None and id in known:
            line.append(known[id])
            id = known[id].parent
        return tuple(reversed(line))


@dataclass(frozen=True)
class Span:
    """A value for tokens ``start`` to ``end`` (exclusive) of one trace."""

    trace: str
    start: int
    end: int
    value: float


@dataclass(frozen=True)
class Judgement:
    """Feedback on an attempt (``trace`` None) or on one of its traces.

    ``score`` is None unless ``status`` is "checked". ``raw`` components keep a scorer's own value beside the score. ``cost``: what
    models spent on judging, counted by the runner; what was spent on a whole group stands with its first judgement.
    """

    attempt: str
    score: float | None
    status: Status = "checked"
    trace: str | None = None
    evidence: str = ""
    components: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    critique: str = ""
    cost: Cost = Cost()

    def __post_init__(self) -> None:
        if (self.score is None) == (self.status == "checked"):
            raise ValueError(f"a judgement has a score exactly when checked: found score={self.score}, status={self.status!r}")
        if self.score is not None and not abs(self.score) < float("inf"):
            raise ValueError(f"a score is a finite number: found {self.score}")


@dataclass(frozen=True)
class Group:
    """An assignment, its sibling attempts and their judgements: the unit of credit and curriculum."""

    id: str
    assignment: Assignment
    attempts: tuple[Attempt, ...]
    judgements: tuple[Judgement, ...] = ()

    @property
    def task(self) -> Task:
        return self.assignment.task

    def judgement(self, attempt: Attempt) -> Judgement | None:
        """The judgement of a whole attempt, or None."""
        return next((j for j in self.judgements if j.attempt == attempt.id and j.trace is None), None)

    def scores(self) -> tuple[float | None, ...]:
        """Scores (G) in the order of ``attempts``; None where nothing was checked."""
        known = {j.attempt: j.score for j in self.judgements if j.trace is None}
        return tuple(known.get(a.id) for a in self.attempts)

    @property
    def cost(self) -> Cost:
        """What its attempts and their judging spent."""
        return sum((x.cost for x in (*self.attempts, *self.judgements)), Cost())


# ---------------------------------------------------------------------------------------- learning


@dataclass(frozen=True)
class Targets:
    """Sparse teacher targets: at position t, ``weights[t]`` over candidate tokens ``ids[t]`` (L x up to K)."""

    ids: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Lesson:
    """The narrow waist: all that a learner may see of an attempt. Every sequence has the length of ``tokens`` (L).

    ``train`` marks tokens that are learned, ``advantage`` is their credit. ``behaviour_logp`` comes from the sampler,
    ``old_logp`` from the learner at collection. ``temperature`` divides the learner's logits, so that both are
    probabilities of the distribution that was sampled. ``term`` says which term of a mixed objective reads the lesson.
    ``streams`` are further per-token floats (L) (returns, reference log-probs), ``pair`` joins preferred and rejected.
    """

    tokens: tuple[int, ...]
    train: tuple[bool, ...]
    advantage: tuple[float, ...]
    policy: str = "policy"
    term: str = "rl"
    behaviour_logp: tuple[float, ...] | None = None
    old_logp: tuple[float, ...] | None = None
    temperature: float = 1.0
    weight: float = 1.0
    streams: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    targets: Mapping[str, Targets] = field(default_factory=dict)
    pair: str | None = None
    group: str = ""
    attempt: str = ""

    def __post_init__(self) -> None:
        length = len(self.tokens)
        for name, values in (
            ("train", self.train),
            ("advantage", self.advantage),
            ("behaviour_logp", self.behaviour_logp),
            ("old_logp", self.old_logp),
            *self.streams.items(),
        ):
            if values is not None and len(values) != length:
                raise ValueError(f"lesson {self.attempt!r}: {name} has {len(values)} values for {length} tokens")

    @property
    def signal(self) -> bool:
        """Whether any trained token carries credit."""
        return self.weight != 0 and any(t and a != 0 for t, a in zip(self.train, self.advantage, strict=True))


# ---------------------------------------------------------------------------------------- JSON


def to_json(value: Any) -> bytes:
    """A noun (or any nesting of nouns, numbers, strings) as JSON bytes."""
    return msgspec.json.encode(value)


def from_json(data: bytes | str, type: type[T]) -> T:
    """The noun of this type that ``to_json`` wrote; raises ``msgspec.ValidationError`` naming the wrong field."""
    return msgspec.json.decode(data, type=type)


__all__ = [
    "Answer",
    "Assignment",
    "Attempt",
    "Cost",
    "Group",
    "Judgement",
    "Lesson",
    "Message",
    "Prompt",
    "Question",
    "Sampling",
    "Sequence",
    "Span",
    "Targets",
    "Task",
    "Trace",
    "from_json",
    "replace",
    "to_json",
    "user",
]
