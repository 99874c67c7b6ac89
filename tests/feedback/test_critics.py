"""Critics, and where what they say lands among the tokens."""

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from journeyman.feedback import each, exact, gym, step_checked
from journeyman.feedback.by_policy import by_policy, verdicts, voted
from journeyman.feedback.critics import by_solver, new_steps, weighed
from journeyman.feedback.critique import Critique, of_steps
from journeyman.policies import load_policy
from journeyman.prompts import ASK_VERIFY
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.tasks import gym as tasks
from journeyman.tasks.gym import entry_of
from journeyman.tasks.roles import wrong_attempt
from journeyman.tasks.solvers import SOLVERS, split_steps
from journeyman.testing import ScriptedPolicy, decode
from journeyman.types import Answer, Assignment, Attempt, Cost, Group, Judgement, Task, from_json, to_json, user
from tests.credit.groups import attempt_of

torch.set_num_threads(1)
RIGHT = each(lambda task, text: 1.0)


@dataclass(frozen=True)
class noting:
    """A feedback that only keeps what its critic said of a text."""

    critic: Any
    text: str
    said: list

    async def __call__(self, group):
        self.said.append(await self.critic(group.task, self.text))
        return [Judgement(group.attempts[0].id, 1.0)]


def judged(critic, task, text):
    """What a critic said when it was asked within the runner, and the judgement."""
    said = []
    runner = Runner(sample(), noting(critic, text, said))
    [found] = asyncio.run(runner.judge({}, group_of(task, Attempt("g/0", task.id, Answer(text))))).judgements
    assert found.status == "checked", found.evidence
    return said[0], found


def ask(critic, task, text):
    return judged(critic, task, text)[0]


def group_of(task, *attempts):
    return Group("g", Assignment(task, len(attempts)), attempts)


def says(*values):
    """A critic that gives these values to a text's steps."""

    async def critic(task, text):
        return of_steps(text, values, "words")

    return critic


def marked(text, critic, *, end=True):
    """(what each span shows, value) of an answer of one byte a token, closed by an end of turn."""
    attempt = attempt_of(0, text + ("\0" if end else ""))
    trace = replace(attempt.traces[0], text=text, start=3)
    attempt = replace(attempt, answer=Answer(text, trace.id), traces=(trace,))
    [j] = asyncio.run(run_feedback(step_checked(RIGHT, critic, decode), group_of(Task("t", user("?")), attempt)))
    return [(bytes(trace.tokens[s.start : s.end]).decode(), s.value) for s in j.spans], j


async def run_feedback(feedback, group):
    return await feedback(group)


# ---------------------------------------------------------------------------------------- critics


@pytest.mark.parametrize("family", sorted(SOLVERS))
def test_the_solver_judges_every_family(family):
    """The worked solution is right in each step; of a wrong attempt the first wrong step is 0 and what is before it 1."""

    for task in (tasks(family, size=3)[i] for i in range(3)):
        entry, text = entry_of(task), SOLVERS[family].solve(entry_of(task))
        assert {v for *_, v in ask(by_solver(), task, text).parts} == {1.0}
        assert [text[s:e] for s, e, _ in ask(by_solver(), task, text).parts] == split_steps(text)
        bad = wrong_attempt(random.Random(1), entry, SOLVERS[family])
        first = SOLVERS[family].first_wrong_step(entry, bad)
        found = ask(by_solver(), task, bad)
        assert [v for *_, v in found.parts] == [1.0] * first + [0.0]
        assert f"step {first + 1} is wrong" in found.text
        later = ask(by_solver(later=0.0), task, bad)
        assert [v for *_, v in later.parts] == [1.0] * first + [0.0] * (len(split_steps(bad)) - first)


def test_the_solver_abstains_where_it_knows_nothing_and_a_missing_answer_is_a_wrong_part():
    assert ask(by_solver(), Task("t", user("?"), "4"), "2+2=4") is None
    task = tasks("gcd", size=1)[0]
    text = SOLVERS["gcd"].solve(entry_of(task)).split("<answer>")[0]
    found = ask(by_solver(), task, text)
    assert found.parts[-1] == (len(text), len(text), 0.0)
    assert found.text == "the answer is missing"
    assert ask(by_solver(), task, "").parts == ((0, 0, 0.0),)


def test_votes_of_the_capo_card():
    """{right, wrong}, {right, wrong}, {right, right}: by intersection step 2 stays right."""
    said = [{0: True, 1: False}, {0: True, 1: False}, {0: True, 1: True}]
    assert voted(said, "all") == {0: 1.0, 1: 1.0}
    assert voted(said, "majority") == {0: 1.0, 1: 0.0}
    assert voted(said, "mean") == pytest.approx({0: 1.0, 1: 1 / 3})
    assert voted([{0: False}, {}], "all") == {0: 1.0}, "who does not name a step does not call it wrong"
    assert voted([{0: False}, {}], "majority") == {0: 1.0}, "half is no majority"


def test_verdicts_are_read_from_lines():
    assert verdicts("1: 9+4=13 right\n2: 13+7=20 wrong\n<answer>no</answer>") == {0: True, 1: False}
    assert verdicts("1: right\n1: wrong") == {0: True}
    assert verdicts("all of it is right") == {}


def test_a_policy_is_asked_about_the_task_and_the_text():
    policy = ScriptedPolicy(lambda text, rng: "1: 9+4=13 right\n2: 13+7=20 wrong\n<answer>no</answer>", name="critic")
    task = Task("t", user("9+4+7?"), "20")
    found = ask(by_policy(policy), task, "9+4=13\n13+7=21\n<answer>21</answer>")
    assert found.parts == ((0, 6, 1.0), (7, 14, 0.0))
    [(_, asked)] = policy.calls
    assert asked.startswith("user: 9+4+7?\n\n9+4=13\n13+7=21\n<answer>21</answer>\n\n" + ASK_VERIFY[0])
    assert ask(by_policy(ScriptedPolicy(lambda text, rng: "hm")), task, "a") is None


def test_what_a_critic_reads_and_writes_is_counted():
    policy = ScriptedPolicy(lambda text, rng: "1: right", name="critic")
    task = Task("t", user("?"), "4")
    _, one = judged(by_policy(policy), task, "a")
    _, three = judged(weighed([(by_policy(policy, critiques=3, temperature=1.0), 0.5), (new_steps(), 0.5)]), task, "a")
    assert one.cost.calls == 1
    assert three.cost.calls == 3
    assert one.cost.compute == (one.cost.prompt_tokens + one.cost.sampled_tokens) * policy.parameters > 0
    assert three.cost.compute == 3 * one.cost.compute
    assert judged(new_steps(), task, "a")[1].cost == Cost()


def test_several_critiques_differ_and_the_same_question_has_the_same_critique():
    policy = ScriptedPolicy(lambda text, rng: f"1: {rng.choice(['right', 'wrong'])}")
    critic = by_policy(policy, critiques=9, rule="mean", temperature=1.0)
    task = Task("t", user("?"), "4")
    found = ask(critic, task, "a")
    assert len(set(found.text.split("\n\n"))) == 2
    assert 0 < found.parts[0][2] < 1
    assert ask(critic, task, "a") == found
    for wrong in ({"critiques": 0}, {"critiques": 2}, {"rule": "none"}):
        with pytest.raises(ValueError, match="expected at least 1 critique"):
            by_policy(policy, **wrong)


def test_the_packaged_model_is_a_critic():
    """What the base model says of right and of wrong attempts differs in the right direction."""

    critic = by_policy(load_policy("base", name="critic", device="cpu").snapshot())
    found = {True: [], False: []}
    for task in (tasks("chain_sum", size=6, level=1)[i] for i in range(6)):
        entry, solver = entry_of(task), SOLVERS["chain_sum"]
        for right in found:
            text = solver.solve(entry) if right else wrong_attempt(random.Random(3), entry, solver)
            critique = ask(critic, task, text)
            found[right].append(critique is not None and all(v == 1 for *_, v in critique.parts))
    assert sum(found[True]) > sum(found[False])


def test_repeats_are_not_new_and_weights_are_worth():
    task = Task("t", user("?"))
    assert [v for *_, v in ask(new_steps(), task, "a  b\nc\nA b\n").parts] == [1.0, 1.0, 0.0]
    both = weighed([(says(1.0, 0.0), 0.5), (new_steps(), 0.3)])
    parts = ask(both, task, "a\na").parts
    assert [(s, e, round(2 * v - 1, 9)) for s, e, v in parts] == [(0, 1, 0.3), (0, 1, 0.5), (2, 3, -0.5), (2, 3, -0.3)]

    async def silent(task, text):
        return None

    assert ask(weighed([(silent, 0.5)]), task, "a") is None
    for wrong in ((), ((silent, 2.0),)):
        with pytest.raises(ValueError, match="weights from 0 to 1"):
            weighed(wrong)


# ---------------------------------------------------------------------------------------- tokens


def test_spans_cover_the_steps_and_the_end_of_turn():
    found, j = marked("one\ntwo \n<answer>3</answer>", says(1.0, 0.0, 1.0))
    assert found == [("one\n", 1.0), ("two \n", 0.0), ("<answer>3</answer>\0", 1.0)]
    assert (j.critique, j.components) == ("words", {"parts": 3.0, "right_parts": 2.0})
    assert from_json(to_json(j), Judgement) == j


def test_steps_that_nobody_judged_have_no_span():
    assert marked("one\ntwo\nthree", says(1.0, None, 0.0))[0] == [("one\n", 1.0), ("three\0", 0.0)]
    assert marked("one\ntwo\nthree", says(1.0, 0.0))[0] == [("one\n", 1.0), ("two\n", 0.0)]


def test_a_missing_part_is_at_the_end_of_turn():
    assert marked("one", says(1.0, 0.0))[0] == [("one", 1.0), ("\0", 0.0)]
    assert marked("one", says(1.0, 0.0), end=False)[0] == [("one", 1.0)], "cut off by the length: nothing to blame"
    assert marked("", says(0.0))[0] == [("\0", 0.0)]


def test_parts_may_overlap():
    async def critic(task, text):
        return Critique(((0, 3, 1.0), (0, 7, 0.0)))

    assert marked("one two", critic)[0] == [("one ", 1.0), ("one two\0", 0.0)]


def test_spans_of_the_packaged_tokenizer_show_the_steps():
    """Steps of several tokens, tokens of several characters, and a text that was not drawn as it would be encoded."""
    policy = load_policy("base", device="cpu")
    task = next(t for t in (tasks("leg_counting", size=4)[i] for i in range(4)) if len(t.answer["answer"]))
    text = SOLVERS["leg_counting"].solve(entry_of(task))
    whole = policy.chat.encode(text)
    letters = tuple(t for c in text for t in policy.chat.encode(c))
    assert len(whole) < len(letters)
    for tokens in (whole, letters):
        drawn = (*tokens, min(policy.chat.ends))
        trace = replace(attempt_of(0, text).traces[0], tokens=(7, 8, *drawn), start=2, text=text)
        attempt = Attempt("g/0", task.id, Answer(text, trace.id), (trace,))
        feedback = step_checked(gym(), by_solver(), policy.chat.decode)
        [j] = asyncio.run(run_feedback(feedback, group_of(task, attempt)))
        assert j.score == 1.0
        assert [policy.chat.decode(trace.tokens[s.start : s.end]).strip() for s in j.spans] == split_steps(text)
        assert j.spans[0].start == 2
        assert j.spans[-1].end == len(trace.tokens)


def test_judgements_without_a_score_or_a_view_stay_and_a_text_is_judged_once():
    task = Task("t", user("?"), "a")
    asked = []

    async def critic(task, text):
        asked.append(text)
        return None if text == "b" else of_steps(text, [1.0])

    attempts = (attempt_of(0, "a"), attempt_of(1, "b"), attempt_of(2, "a"), Attempt("g/3", "t", None, error="broken"))
    inner, group = exact(), group_of(task, *attempts)
    plain = asyncio.run(run_feedback(inner, group))
    found = asyncio.run(run_feedback(step_checked(inner, critic, decode), group))
    assert asked == ["a", "b"]
    assert [len(j.spans) for j in found] == [1, 0, 1, 0]
    assert (found[1], found[3]) == (plain[1], plain[3])
    assert [j.score for j in found] == [j.score for j in plain]


def test_it_says_what_it_needs_and_refuses_answers_of_no_trace():
    part = step_checked(exact(), by_solver(), decode)
    assert part.gives == {"score", "spans", "critique"}
    assert part.needs == {"answer", "tokens"}
    stray = replace(attempt_of(0, "a"), answer=Answer("a chosen text", None))
    with pytest.raises(ValueError, match="not the text of a trace"):
        asyncio.run(run_feedback(step_checked(RIGHT, by_solver(), decode), group_of(Task("t", user("?")), stray)))
