import pytest

from journeyman.credit import equation_list, imitate_best
from journeyman.testing import decode
from journeyman.types import Answer, Attempt, Trace, user
from tests.credit.groups import group_of, judged, render

PATHS = ["3+4=7, 7*2=14", "3 + 4 = 7 and then 7 × 2 = 14", "3*2=6; 4*2=8; 6+8=14"]


def kept(credit, group):
    return [group.attempts[i].answer.text for i in credit.choose(group)]


def test_rft_card_keeps_one_of_each_equation_list():
    assert equation_list(PATHS[0]) == equation_list(PATHS[1]) == ("3+4=7", "7*2=14")
    assert equation_list(PATHS[2]) == ("3*2=6", "4*2=8", "6+8=14")
    lessons = imitate_best(keep=10, distinct=equation_list)(group_of([1.0] * 3, PATHS), render)
    assert [x.attempt for x in lessons] == ["g/0", "g/2"]


def test_equation_lists():
    assert equation_list("She has <<16-3-4=9>>9 eggs, so 9 * 2 = $<<9*2=18>>18") == ("16-3-4=9", "9*2=18")
    assert equation_list("1,200 + 300 = 1,500") == equation_list("1200+300=1500") == ("1200+300=1500",)
    assert equation_list("7*2=14, 3+4=7") != equation_list("3+4=7, 7*2=14"), "the order is part of the path"
    assert equation_list("(3 + 4) * 2 = 14") == ("(3+4)*2=14",)
    assert equation_list("yes ") == "yes"
    assert equation_list("yes") != equation_list("no")


def test_rest_em_card_caps_each_task():
    counts = []
    for right in (0, 3, 25):
        group = group_of([1.0] * right + [0.0] * (32 - right))
        counts.append(len(imitate_best(keep=10)(group, render)))
    assert counts == [0, 3, 10]
    assert [c / 13 for c in counts] == pytest.approx([0, 0.231, 0.769], abs=1e-3)


def test_even_weighs_every_solved_task_the_same():
    weights = [sum(x.weight for x in imitate_best(keep=10, even=True)(group_of([1.0] * n), render)) for n in (1, 3, 25)]
    assert weights == pytest.approx([1, 1, 1])
    assert {x.weight for x in imitate_best(keep=10)(group_of([1.0] * 3), render)} == {1.0}


def test_order_is_distinct_then_score_then_short_then_early():
    group = group_of([1.0, 1.0, 1.0, 2.0, 1.0], ["long one", "ab", "ab", "the best of all", "cd"])
    assert kept(imitate_best(keep=9), group) == ["the best of all", "ab", "cd", "long one", "ab"]
    assert imitate_best(keep=3).choose(group) == [3, 1, 4]


def test_threshold_and_abstentions():
    group = group_of([0.5, None, 0.4, 1.0])
    assert imitate_best(keep=4, threshold=0.5).choose(group) == [3, 0]
    assert imitate_best().choose(group) == [3]
    failed = judged([Attempt("g/0", "t", None, error="broken")], [None])
    assert imitate_best()(failed, render) == []


def test_the_lesson_is_the_plain_prompt_and_the_answer():
    [lesson] = imitate_best()(group_of([1.0], ["six"]), render)
    assert decode(lesson.tokens) == "user: question?assistant: six"
    assert decode([t for t, m in zip(lesson.tokens, lesson.train, strict=True) if m]) == "six"
    assert lesson.advantage == tuple(map(float, lesson.train))
    assert (lesson.term, lesson.behaviour_logp, lesson.old_logp, lesson.temperature) == ("sft", None, None, 1.0)


def test_star_no_token_of_the_hint_is_in_the_lesson():
    """The answer came from a prompt with a hint of bytes that nothing else has: none of them is in the lesson."""
    hint = "HINT#ZX"
    tokens, _ = render([*user(f"question?\n{hint}"), {"role": "assistant", "content": "six"}])
    trace = Trace("g/0:1", role="rationalizer", prompt=user(f"question?\n{hint}"), text="six", tokens=tokens,
                  sampled=(False,) * (len(tokens) - 4) + (True,) * 4, marks={"hinted": True})  # fmt: skip
    assert set(hint.encode()) & set(tokens) == set(hint.encode())
    group = judged([Attempt("g/0", "t", Answer("six", trace.id), (trace,))], [1.0])
    [lesson] = imitate_best()(group, render)
    assert not set(hint.encode()) & set(lesson.tokens)


def test_the_policy_that_learns_is_the_one_that_renders():
    asked = []

    def renders(messages, policy="policy"):
        asked.append(policy)
        return render(messages)

    [lesson] = imitate_best(policy="student")(group_of([1.0]), renders)
    assert (asked, lesson.policy) == (["student"], "student")


def test_settings_are_checked():
    with pytest.raises(ValueError, match="expected at least 1"):
        imitate_best(keep=0)
