"""Parts from text: what is read, what is refused, and that nothing is ever run."""

import inspect
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman import credit, curricula, feedback, learners, objectives, strategies
from journeyman.literal import FAMILIES, example, parse
from journeyman.types import Sampling


@pytest.mark.parametrize(
    ("text", "family", "made"),
    [
        ("sample", strategies, strategies.sample()),
        (" sample() ", strategies, strategies.sample()),
        ("sample(1)", strategies, strategies.sample(1.0)),
        ("sample(temperature=None)", strategies, strategies.sample()),
        ("vote(n=16, inner=sample(temperature=0.7))", strategies, strategies.vote(16, strategies.sample(0.7))),
        ("vote(inner=vote(weight='confidence'))", strategies, strategies.vote(inner=strategies.vote(weight="confidence"))),
        ("best_of_n(\n  8,\n)", strategies, strategies.best_of_n(8)),
        ("shuffled(exact, seed=3)", feedback, feedback.shuffled(feedback.exact(), 3)),
        ("imitate_best(distinct=equation_list)", credit, credit.imitate_best(distinct=credit.equation_list)),
        ("group_zscore(every_trace=True)", credit, credit.group_zscore(every_trace=True)),
        (
            "surrogate(clip=ppo_clip(0.2, 0.28), ratio=over_old, reduce=token_mean)",
            objectives,
            objectives.surrogate(objectives.ppo_clip(0.2, 0.28), objectives.over_old, objectives.token_mean),
        ),
        ("mix(rl=surrogate(), sft=nll())", objectives, objectives.mix(rl=objectives.surrogate(), sft=objectives.nll())),
        ("plus(surrogate(), nll())", objectives, objectives.plus(objectives.surrogate(), objectives.nll())),
    ],
)
def test_read(text, family, made):
    assert parse(text, family) == made


def test_lists_are_tuples():
    assert parse("Gradient(nll(), betas=[0.9, 0.95])", learners).betas == (0.9, 0.95)


@pytest.mark.parametrize(
    ("text", "family", "reason"),
    [
        ("", strategies, "'' is not a part; write a call such as backtracking()"),
        ("vote(n=", strategies, "'vote(n=' is not a part; write a call such as backtracking()"),
        ("vote\0", strategies, "'vote\\x00' is not a part; write a call such as backtracking()"),
        ("1 + 1", strategies, "'1 + 1' is not a part; write a call such as backtracking()"),
        ("vote().n", strategies, "'vote().n' is not a part; write a call such as backtracking()"),
        ("vote()()", strategies, "'vote()()' is not a part; write a call such as backtracking()"),
        ("vot(n=3)", strategies, "no strategy is named 'vot'; did you mean 'vote'?"),
        ("exact()", strategies, "exact is a feedback, not a strategy; there are "),
        ("nll()", feedback, "nll is an objective, not a feedback; there are "),
        ("vote(inner=exact())", strategies, "exact is a feedback, not a strategy; there are "),
        ("vote(m=3)", strategies, "vote: got an unexpected keyword argument 'm'; it takes n, inner, weight"),
        ("exact(1)", feedback, "exact: too many positional arguments; it takes no arguments"),
        ("each", feedback, "each: missing a required argument: 'f'; it takes f"),
        ("vote(n=1, n=2)", strategies, "vote: n=2 is written twice"),
        ("vote(**{})", strategies, "vote: **{} is not read"),
        ("vote(*[1])", strategies, "vote: n is *[1], which is neither a part nor a plain value"),
        ("vote(n=[x for x in ()])", strategies, "vote: n is [x for x in ()], which is neither a part nor a plain value"),
        ("vote(n=1 + 1)", strategies, "vote: n is 1 + 1, which is neither a part nor a plain value"),
        ("vote(n={[]: 1})", strategies, "vote: n is {[]: 1}, which is neither a part nor a plain value"),
        ("vote(n=1.5)", strategies, "vote: n is 1.5, expected a whole number"),
        ("vote(n='a')", strategies, "vote: n is 'a', expected a whole number"),
        ("vote(n=True)", strategies, "vote: n is True, expected a whole number"),
        ("vote(n=1e999)", strategies, "vote: n is 1e309, expected a finite number"),
        ("vote(n=vote())", strategies, "vote: n is vote(), expected a whole number"),
        ("vote(n=-1)", strategies, "vote has n=-1, expected at least 1"),
        ("vote(inner=3)", strategies, "vote: inner is 3, expected a strategy such as backtracking()"),
        ("vote(weight='all')", strategies, "vote: weight is 'all', expected 'count' or 'confidence'"),
        ("sample(temperature='a')", strategies, "sample: temperature is 'a', expected a number or a schedule or None"),
        ("each(f=3)", feedback, "each: f is 3, expected a function"),
        ("surrogate(reduce=token_mean())", objectives, "token_mean is a function and takes no brackets; write token_mean"),
        ("mix(rl=3)", objectives, "mix: rl is 3, expected an objective such as agreement()"),
        ("restart(3)", learners, "restart: inner is 3, expected Gradient"),
        ("uniform(tasks=3)", curricula, "uniform: tasks is 3, expected tasks (which only a recipe can give)"),
    ],
)
def test_refused(text, family, reason):
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}") as refusal:
        parse(text, family)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch pwned')",
        "vote(n=__import__('os').system('touch pwned'))",
        "vote(inner=__import__('os').system('touch pwned'))",
        "vote(n=open('pwned', 'w'))",
        "sample(temperature=(lambda: open('pwned', 'w'))())",
        "sample(temperature=f\"{open('pwned', 'w')}\")",
        "sample(temperature=[open('pwned', 'w') for _ in '1'])",
        "sample if open('pwned', 'w') else vote",
        "(x := open('pwned', 'w'))",
        "exec('1')",
        "(" * 5000 + ")" * 5000,
        "vote(inner=" * 500 + ")" * 500,
    ],
    ids=lambda text: text[:40],
)
def test_nothing_is_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"is not a part|neither a part|is named"):
        parse(text, strategies)
    assert not list(tmp_path.iterdir())


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        outcome = type(parse(text, strategies)).__name__
    except ValueError as error:
        outcome = str(error)
    refused = "\n" not in outcome and any(words in outcome for words in ("is not a part", "is named", "not a strategy"))
    assert outcome in strategies.__all__ or refused


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__.rpartition(".")[2])
def test_every_part_is_found_by_its_name(family):
    for name in family.__all__:
        part = getattr(family, name)
        if isinstance(part, type) and any(p.default is p.empty for p in inspect.signature(part).parameters.values()):
            with pytest.raises(ValueError, match=f"^{name}"):
                parse(name, family)
        else:
            made = parse(name, family)
            assert made is part or type(made) is part
    assert parse(example(strategies), strategies) == strategies.backtracking()


def test_names_of_other_modules_are_not_parts():
    assert Sampling.__name__ not in strategies.__all__
    with pytest.raises(ValueError, match="no strategy is named 'Sampling'"):
        parse("Sampling()", strategies)
