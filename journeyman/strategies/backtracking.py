"""Answer; go back to before the first wrong step, and go on from there another way."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from journeyman.feedback.critics import by_solver
from journeyman.feedback.critique import Critic
from journeyman.protocols import Schedule, View, value, words
from journeyman.runner import TaskCheck
from journeyman.scope import report
from journeyman.strategies.prefix import Decode, cut
from journeyman.types import Answer, Question, Trace


@dataclass(frozen=True)
class backtracking:
    """Depth-first search over an answer's steps with a critic that knows the truth; an oracle. An answer is drawn whole; while the
    critic finds a wrong step in it, what begins with that step is thrown away and the step drawn anew, at most ``tries`` times.
    After a right one the rest is drawn, whole again. Where a step's tries run out the answer ends with that step, wrong and
    unfinished: an answer that is whole is sound work, and to imitate right ones is to imitate no lucky ones (unless tries=0).

    Where each step is right with probability p, n steps are with p^n in a plain sample; here they take about n / p draws of one
    step. The search ends, too, where the critic abstains and where the first wrong step is one that the limit of tokens cut off.
    A step ends with its line, and where it opens an answer tag with the closing one. All that is drawn is charged.
    ``temperature`` is that of whole draws; a wrong step is drawn anew at the run's own, where more than one way must be found.

    The critic must say which step is wrong; ``by_solver()`` abstains where no exact checker knows the task. The first wrong step is
    what process supervision labels (Lightman et al. 2023, arXiv 2305.20050; a person does there). The search is the plainest there
    is and no paper's own.
    """

    critic: Critic = by_solver()
    tries: int = 16
    temperature: float | Schedule | None = None
    needs = words("oracle", "tokens")
    gives = words("answer")

    def __post_init__(self) -> None:
        if self.tries < 0:
            raise ValueError(f"backtracking has tries={self.tries}, expected at least 0")

    async def __call__(self, question: Question, policy: View, check: TaskCheck) -> Answer:
        warmth = None if self.temperature is None else value(self.temperature)
        trace = stem = await policy.sample(question.prompt, temperature=warmth)
        first, limit, whole, tried = trace.start, trace.start + trace.sampling.max_tokens, True, 0
        while True:
            text = policy.decode(trace.tokens[first:])
            report(answer := Answer(text, trace.id))
            at = None if not whole and unclosed(text) else await self.wrong(check, trace, text, first, whole, policy.decode)
            if at is None and (whole or len(trace.tokens) == limit):
                return answer
            if at is None:
                trace, whole = await policy.extend(trace, max_tokens=limit - len(trace.tokens), temperature=warmth), True
                continue
            again = at <= len(stem.tokens) < len(trace.tokens)
            stem, tried = (stem, tried + 1) if again else (cut(trace, max(at, trace.start), policy.decode), 1)
            if tried > self.tries:
                return answer
            trace = await policy.extend(stem, max_tokens=limit - len(stem.tokens), stop=("\n",))
            whole = trace.stop_reason != "stop"

    async def wrong(self, check: TaskCheck, trace: Trace, text: str, first: int, whole: bool, decode: Decode) -> int | None:
        """The token with which the first wrong step begins, or the missing one should; None where there is nothing to mend."""
        found = await self.critic(check.task, text)
        start, end = next(((start, end) for start, end, v in found.parts if v < 0.5), (None, 0)) if found else (None, 0)
        if start is None or (end == len(text) and (trace.stop_reason == "length" or (not whole and start == end))):
            return None
        drawn = trace.tokens[first:]
        before = bisect_right(range(len(drawn) + 1), start, key=lambda n: len(decode(drawn[:n]))) - 1
        return first + min(before, len(drawn) - 1)


def unclosed(text: str) -> bool:
    """Whether the text opens an answer tag that it does not close."""
    return text.rfind("<answer>") > text.rfind("</answer>")
