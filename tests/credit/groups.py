"""Groups made by hand."""

from journeyman.testing import encode, transcript
from journeyman.types import Answer, Assignment, Attempt, Group, Judgement, Sampling, Task, Trace, user


def attempt_of(i, text, *, temperature=1.0, policy="policy", group="g"):
    """An attempt of one sample: 3 prompt tokens, then one token a byte of the text."""
    drawn = tuple(text.encode())
    trace = Trace(
        f"{group}/{i}:0", policy, text=text, tokens=(1, 2, 3, *drawn), sampled=(False,) * 3 + (True,) * len(drawn),
        logp=(0.0,) * 3 + tuple(-0.1 * (k + 1) for k in range(len(drawn))), version=(-1,) * 3 + (0,) * len(drawn),
        sampling=Sampling(temperature=temperature), start=0,
    )  # fmt: skip
    return Attempt(f"{group}/{i}", "t", Answer(text, trace.id), (trace,))


def judged(attempts, scores, *, id="g", prompt="question?", components=None):
    """A group whose scores are these; None is an abstention."""
    judgements = [
        Judgement(a.id, s, "checked" if s is not None else "abstained", components=components[i] if components else {})
        for i, (a, s) in enumerate(zip(attempts, scores, strict=True))
    ]
    task = Task("t", user(prompt), "42", level=0)
    return Group(id, Assignment(task, len(attempts)), tuple(attempts), tuple(judgements))


def group_of(scores, texts=None, **kw):
    texts = texts or [f"answer {i}" for i in range(len(scores))]
    return judged([attempt_of(i, t, group=kw.get("id", "g")) for i, t in enumerate(texts)], scores, **kw)


def render(messages, policy="policy"):
    """The byte format of ``testing``."""
    before = encode(transcript(messages[:-1]) + "assistant: ")
    own = (*encode(messages[-1]["content"]), 0)
    return before + own, (False,) * len(before) + (True,) * len(own)
