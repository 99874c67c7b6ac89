"""The verbs: what each kind of part must do, and the two declarations every part makes.

A part is a bare function, a frozen dataclass with ``__call__``, or (stateful) a plain class with ``state_dict``.
Each declares ``needs`` and ``gives``, sets of the words below; ``Run.check`` walks them before any work.
``declare(needs, gives)`` sets both on a bare function.

Words: ``answer`` ``oracle`` ``world`` (strategy) · ``score`` ``trace_scores`` ``spans`` ``critique`` ``preference`` (feedback) ·
``siblings`` (a group of at least two) · ``tokens`` (traces hold token ids) · ``values`` ``visits`` ... (marks and streams) ·
``lessons`` ``advantage`` ``behaviour_logp`` ``pairs`` ``targets`` ``reward`` (credit) · ``old_logp`` ``ref_logp`` ``returns``
``old_value`` (the learner) · ``forward.logp`` ``forward.entropy`` ``forward.hidden`` ... (the policy's forward outputs) ·
``evaluate.value`` ``embed`` (what a strategy may ask of a policy besides samples) · ``term.NAME`` (a lesson's term tag).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from journeyman.types import Answer, Assignment, Group, Judgement, Lesson, Message, Prompt, Sampling, Task, Trace

if TYPE_CHECKING:
    from torch import Tensor

    from journeyman.batch import Batch

Words = frozenset[str]
NONE: Words = frozenset()
F = TypeVar("F", bound=Callable[..., Any])


def words(*names: str) -> Words:
    """The set of these words: ``needs = words("score", "siblings")``."""
    return frozenset(names)


def declare(needs: Iterable[str] = (), gives: Iterable[str] = ()) -> Callable[[F], F]:
    """Set ``needs`` and ``gives`` on a bare function that is a part."""

    def mark(function: F) -> F:
        function.needs, function.gives = frozenset(needs), frozenset(gives)  # type: ignore[attr-defined]
        return function

    return mark


@runtime_checkable
class Part(Protocol):
    """What ``Run.check`` reads of every part."""

    @property
    def needs(self) -> Words: ...
    @property
    def gives(self) -> Words: ...


def needs_of(part: Any) -> Words:
    """What a part declares that it needs; nothing for what is not a part (a number, a plain function in a field)."""
    return part.needs if isinstance(part, Part) else NONE


def gives_of(part: Any) -> Words:
    """What a part declares that it gives."""
    return part.gives if isinstance(part, Part) else NONE


# ---------------------------------------------------------------------------------------- policies


@runtime_checkable
class Policy(Protocol):
    """A model that answers. Concurrent calls are coalesced below this interface; siblings share their prefix."""

    name: str
    gives: Words

    @property
    def parameters(self) -> int:
        """How many parameters a token passes through (for budgets)."""
        ...

    @property
    def version(self) -> int:
        """Counts weight updates, from 0."""
        ...

    async def sample(self, prompt: Prompt, sampling: Sampling, *, id: str, seed: int, role: str) -> Trace:
        """One sample from a prompt. ``seed`` fixes it whatever else is being sampled."""
        ...

    async def extend(self, trace: Trace, text: str, turn: Prompt, sampling: Sampling, *, id: str, seed: int, role: str) -> Trace:
        """Append ``text`` as the model's own words, then ``turn`` as messages, and sample on. Nothing is re-rendered."""
        ...

    def abandoned(self, id: str) -> tuple[int, int]:
        """(prompt, sampled) tokens that the failed or cancelled call ``id`` had spent; forgets them."""
        ...

    async def logp(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """Log-probability (L) of each token given those before it at temperature 1; 0 for the first."""
        ...

    async def evaluate(self, tokens: Sequence[int], head: str) -> tuple[float, ...]:
        """What a head (``value`` ...) says at each token (L); a policy with that head gives ``evaluate.HEAD``."""
        ...

    async def embed(self, text: str) -> tuple[float, ...]:
        """A vector for a text; a policy that can gives ``embed``."""
        ...

    def render(self, messages: Sequence[Message]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Messages -> tokens (L) and the mask (L) of the last message's own tokens (its end-of-turn included) when
        that message is the assistant's; otherwise the tokens end with the cue to answer and the mask is all false."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens that were drawn, a final end token left out."""
        ...

    def snapshot(self) -> Policy:
        """A view that samples from these weights and carries their version."""
        ...


class Trainable(Policy, Protocol):
    """A policy whose weights (or adapters) a learner may change."""

    def forward(self, batch: Batch, want: Words) -> dict[str, Tensor]:
        """Differentiable outputs for the words wanted, without their ``forward.`` prefix: logp (B, T), entropy (B, T) ..."""
        ...

    def trained(self) -> Iterable[tuple[str, Tensor]]:
        """Names and tensors of the weights that train."""
        ...

    def frozen(self) -> Trainable:
        """A copy whose weights never change (a reference model); shares what it can."""
        ...

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """The trained tensors by name, for checkpoints."""
        ...

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Put back what ``weights`` gave at that version."""
        ...

    def after_step(self, stats: Mapping[str, float]) -> None:
        """Called once per optimiser step, after the weights moved: counts the version, drops stale caches."""
        ...


@runtime_checkable
class OwnLoss(Protocol):
    """A trainable policy with a loss of its own, such as the load balancing of MoE routers. Its ``forward`` gives ``aux``, a
    micro-batch's share of that loss (scalar), which the learner adds to the objective's."""

    def before_step(self, batches: Sequence[Batch]) -> None:
        """See every micro-batch of an optimiser step before its first backward, to gather whole-step statistics."""
        ...


class View(Protocol):
    """A policy as a strategy sees it: every call is recorded, seeded by its path, and charged to the budget.

    Each method fixes the call's identity when called, before it is awaited.
    """

    name: str

    @property
    def version(self) -> int: ...
    def sample(
        self,
        prompt: Prompt,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: tuple[str, ...] = (),
        role: str = "solver",
    ) -> Awaitable[Trace]: ...
    def extend(
        self,
        trace: Trace,
        *,
        text: str = "",
        turn: Prompt = (),
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: tuple[str, ...] = (),
        role: str = "solver",
    ) -> Awaitable[Trace]: ...
    def logp(self, tokens: Sequence[int]) -> Awaitable[tuple[float, ...]]: ...
    def evaluate(self, tokens: Sequence[int], head: str = "value") -> Awaitable[tuple[float, ...]]: ...
    def embed(self, text: str) -> Awaitable[tuple[float, ...]]: ...
    def decode(self, tokens: Sequence[int]) -> str:
        """The text of drawn tokens, a final end token left out. Costs nothing."""
        ...

    def mark(self, trace: Trace, name: str, value: Any) -> None:
        """Record a score, a visit count, an accept or reject on a trace, for credit to use."""
        ...


# ---------------------------------------------------------------------------------------- the other seams


class Strategy(Part, Protocol):
    """The expert. One that needs the truth says ``oracle = True`` and is called with ``check``; one that needs
    ``world`` is called with ``world``."""

    def __call__(self, *question_policy_and_capabilities: Any, **capabilities: Any) -> Awaitable[Answer]:
        """``(question, policy)``, and ``check`` or ``world`` where it needs them."""
        ...


class World(Protocol):
    """A multi-turn environment, bound to one attempt by the runner."""

    async def step(self, action: str) -> tuple[str, bool]:
        """Act; returns the observation and whether the episode is over."""
        ...


class Tasks(Protocol):
    """A source of tasks."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Task: ...


class Feedback(Part, Protocol):
    def __call__(self, group: Group) -> Awaitable[Sequence[Judgement]]: ...


@runtime_checkable
class Stateful(Protocol):
    """Anything the run checkpoints: plain JSON values in, the same out."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Curriculum(Stateful, Part, Protocol):
    def pick(self, n: int) -> list[Assignment]: ...
    def observe(self, groups: Sequence[Group]) -> None:
        """See every judged group of a step, admitted or not."""
        ...

    def admit(self, group: Group) -> bool:
        """Whether credit may use the group; what is not admitted is refilled."""
        ...


@runtime_checkable
class Schedule(Stateful, Protocol):
    """A hyperparameter that moves during a run. It may stand in any field of any part."""

    def observe(self, groups: Sequence[Group]) -> None: ...
    def value(self) -> float: ...


def value(field: float | Schedule) -> float:
    """A field's value now, whether it is a number or a schedule."""
    return field.value() if isinstance(field, Schedule) else field


class Render(Protocol):
    """Messages -> tokens (L) and the train mask (L) of the last assistant message, as the named policy renders them."""

    def __call__(self, messages: Sequence[Message], policy: str = "policy") -> tuple[tuple[int, ...], tuple[bool, ...]]: ...


class Credit(Part, Protocol):
    def __call__(self, group: Group, render: Render) -> list[Lesson]: ...


@runtime_checkable
class Objective(Part, Protocol):
    @property
    def skips_zero(self) -> bool:
        """Whether a lesson without signal (``Lesson.signal``) adds nothing to the loss; such rows are left out of the forward
        pass once they have been counted in the denominators."""
        ...

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss (scalar) of one micro-batch with whole-step denominators, and metrics that add up over micro-batches."""
        ...


class Learner(Stateful, Part, Protocol):
    @property
    def objective(self) -> Objective: ...
    def prepare(self, policy: Trainable) -> None:
        """See the policy as the run starts with it, before anything is restored (a reference model is a copy of it)."""
        ...

    def update(self, policy: Trainable, lessons: Sequence[Lesson]) -> dict[str, float]:
        """Learn the lessons of one step; metrics of the update."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The learner's own tensors (optimiser moments) by flat names, for checkpoints."""
        ...

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``tensors`` gave."""
        ...
