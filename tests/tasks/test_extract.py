from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.extract import EXTRACTORS, boxes, canonical, everything, extract, rational


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("boxed", r"so \boxed{3}, no: \boxed{\frac{a}{b}}.", r"\frac{a}{b}"),
        ("boxed", r"\boxed{x = \boxed{7}}", "7"),
        ("boxed", r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        ("boxed", r"\boxed{5} and \boxed{6", "5"),
        ("boxed", r"{ \fbox{no} \boxed {4} {", "4"),
        ("boxed", r"\boxed{ }", None),
        ("boxed", "5", None),
        ("answer", "<answer>1</answer> <answer>\n2 3\n4 5\n</answer>", "2 3\n4 5"),
        ("answer", "<answer>I think <answer>5</answer>", "5"),
        ("answer", "<answer>5", None),
        ("answer", "5</answer>", None),
        ("answer", "<answer></answer>", None),
        ("hashes", "#### 3 ...\n#### 1,234 \nbye", "1,234"),
        ("hashes", "3", None),
        ("hashes", "####", None),
        ("number", "it costs $1,250.50 each.", "1250.50"),
        ("number", "16-3-4=9", "9"),
        ("number", "5 - 3", "3"),
        ("number", "5 -3", "3"),
        ("number", "16-3", "3"),
        ("number", "the answer is -5.", "-5"),
        ("number", "(2,-3)", "-3"),
        ("number", "−7 °C", "-7"),
        ("number", r"$\frac{3}{4}$ cup", "3/4"),
        ("number", "3/4 of it", "3/4"),
        ("number", "on 3/4/2020", "2020"),
        ("number", "50%", "50"),
        ("number", "5kg", "5"),
        ("number", "H2O", None),
        ("number", "1,2,3", "3"),
        ("number", r"1{,}234 \$", "1234"),
        ("number", "none", None),
        ("text", "  a b \n", "a b"),
        ("text", " \n", None),
    ],
)
def test_each_extractor_reads_what_it_says(name, text, found):
    assert extract(text, name) == found


def test_an_unknown_extractor_is_refused_with_the_names():
    with pytest.raises(ValueError, match="no extractor is named 'regex'; write one of boxed, answer, hashes, number, text"):
        extract("5", "regex")


def test_everything_lists_each_marked_answer():
    assert everything(r"\boxed{4} or \boxed{5}", "boxed") == ["4", "5"]
    assert everything("<answer>4</answer><answer>5</answer>", "answer") == ["4", "5"]
    assert everything("4 or 5", "number") == ["5"]
    assert everything("", "text") == []


@pytest.mark.parametrize(
    "same",
    [
        ["0.50", "1/2", "+.5", r"$\frac{2}{4}$", r"\dfrac12", " 0.5. ", "5e-1", "-1/-2", r"\left(1/2\right)"[6:9]],
        ["1,000", "1000", "1000.0", "1e3", r"\$1{,}000", "$1000", "01000"],
        ["-3", "−3", "-3.00", r"\(-3\)", "-6/2", r"$-3$"],
        ["0", "-0", "0.000", "0/5"],
        ["Evelyn", "evelyn.", r"\text{Evelyn}", r"$\text{ Evelyn }$"],
        ["(1, 2)", "(1,2)", r"\left( 1 , 2 \right)"],
        ["a  b\n\n c", "A b\nc"],
    ],
)
def test_equal_answers_have_one_canonical_form(same):
    assert len({canonical(x) for x in same}) == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("0.333", "1/3"),
        ("0.3333333333333333", "1/3"),
        ("50%", "50"),
        ("50%", "0.5"),
        ("1 2\n3 4", "1 2 3 4"),
        ("1 -2", "1-2"),
        ("12", "1 2"),
        ("1,2", "12"),
        ("5 apples", "5"),
        ("1 1/2", "11/2"),
        ("x=5", "5"),
        ("1/0", "0"),
        ("10000000000000000000001", "10000000000000000000002"),
        ("1e-400", "0"),
    ],
)
def test_different_answers_have_different_forms(a, b):
    assert canonical(a) != canonical(b)


@given(st.text(max_size=200))
def test_no_text_breaks_extraction(text):
    for name in EXTRACTORS:
        found = extract(text, name)
        assert found is None or found.strip() == found != ""
    assert isinstance(canonical(text), str)


@given(st.text(alphabet=r"\boxedfrac{}<answer/>#$0123456789.,-+eE% ", max_size=80))
def test_texts_near_the_grammar_do_not_break_extraction(text):
    for name in EXTRACTORS:
        extract(text, name)
    value = rational(text)
    assert canonical(text) == str(value) if value is not None else True


@given(st.fractions())
def test_every_rational_has_its_own_form(value):
    assert canonical(f"{value.numerator}/{value.denominator}") == canonical(rf"$\frac{{{value.numerator}}}{{{value.denominator}}}$")
    assert rational(str(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6), st.integers(0, 5))
def test_decimals_are_exact(value, zeros):
    assert rational(f"{value:f}" + "0" * zeros) == Fraction(value)


@given(st.text(alphabet="abc \\{}x", max_size=30))
def test_what_is_boxed_is_found(content):
    depth = 0
    for c in content.replace("\\\\", "").replace("\\{", "").replace("\\}", ""):
        depth += {"{": 1, "}": -1}.get(c, 0)
        if depth < 0:
            return
    if depth == 0 and content.strip() and not content.endswith("\\") and "box" not in content:
        assert boxes(rf"so \boxed{{{content}}} ok") == [content.strip()]


@pytest.mark.parametrize("piece", [r"\boxed{", "1", "-", "1,111", "{", "<answer>", r"\frac{", "$", r"\text{", "1.1.", "####", "1/"])
def test_giant_texts_take_linear_time(piece):
    text = piece * (200_000 // len(piece))
    for name in EXTRACTORS:
        extract(text, name)
    canonical(text)
