r"""How a final answer is read from a text, and the one form that equal answers share.

Each extractor takes the whole text and returns the answer, or None when there is nothing that it reads.
``canonical`` is exact, never approximate: two texts share a form only when they are the same words or the same rational.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

LONGEST = 1000  # characters up to which a text is read as a number; beyond it, exact arithmetic on model output costs too much

_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_SIGNED = rf"[-+]?(?:{_NUMBER})(?:[eE][-+]?[0-9]{{1,3}}(?![0-9]))?"
_SIGN = r"(?:(?<![\w)\]}])(?<![0-9)\]}] )[-+])?"
_IN_TEXT = re.compile(rf"(?<![\w.]){_SIGN}\$?(?:(?<!/)(?:{_NUMBER})/[0-9]+(?![/0-9])|(?:{_NUMBER})(?:[eE][-+]?[0-9]{{1,3}}\b)?)")
_RATIONAL = re.compile(rf"({_SIGNED})(?:\s*/\s*({_SIGNED}))?")
_FRAC = re.compile(r"(-?)\\[dt]?frac\s*(?:\{\s*([^{}]+?)\s*\}|([0-9]))\s*(?:\{\s*([^{}]+?)\s*\}|([0-9]))")
_BARE = re.compile(r"[-+]?[\w.]+")


def boxes(text: str) -> list[str]:
    r"""The content of every complete \boxed{...}, braces nested to any depth; of boxes in a box the inner; blank ones left out."""
    found: list[str] = []
    open_braces: list[tuple[int, int] | None] = []  # of a box: where its content starts, and the boxes found before it
    for token in re.finditer(r"\\f?boxed\s*\{|\\.|[{}]", text, re.DOTALL):  # one pass, so that no text takes quadratic time
        if token.group() == "}":
            box = open_braces.pop() if open_braces else None
            if box is not None and len(found) == box[1] and (content := text[box[0] : token.start()].strip()):
                found.append(content)
        elif token.group() == "{":
            open_braces.append(None)
        elif token.group().endswith("{") and len(token.group()) > 2:
            open_braces.append((token.end(), len(found)))
    return found


def boxed(text: str) -> str | None:
    r"""The last complete \boxed{...}."""
    found = boxes(text)
    return found[-1] if found else None


def tags(text: str) -> list[str]:
    """The content of every <answer>...</answer>, the innermost of nested ones; blank ones left out."""
    found = [piece.rpartition("<answer>") for piece in text.split("</answer>")[:-1]]
    return [inner.strip() for _, opening, inner in found if opening and inner.strip()]


def answer(text: str) -> str | None:
    """The last <answer>...</answer>."""
    found = tags(text)
    return found[-1] if found else None


def hashes(text: str) -> str | None:
    """What follows the last ####, up to the end of its line."""
    _, marker, after = text.rpartition("####")
    return after.strip().partition("\n")[0].strip() or None if marker else None


def number(text: str) -> str | None:
    r"""The last number, without thousands commas, currency sign or unit: "it costs $1,250.50 each." -> "1250.50".

    A minus sign is read as a sign unless a number, word or bracket stands before it (then it subtracts); "3/4" and
    \frac{3}{4} are one number; digits inside a word ("x2") are none.
    """
    plain = _FRAC.sub(_slash, _latex_spaces(text))
    found = [match.group() for match in _IN_TEXT.finditer(plain)]
    return found[-1].replace(",", "").replace("$", "") if found else None


def whole(text: str) -> str | None:
    """The stripped text itself."""
    return text.strip() or None


EXTRACTORS: dict[str, Callable[[str], str | None]] = {
    "boxed": boxed,
    "answer": answer,
    "hashes": hashes,
    "number": number,
    "text": whole,
}


def extractor(name: str) -> Callable[[str], str | None]:
    """The extractor of this name; ValueError lists those there are."""
    if name not in EXTRACTORS:
        raise ValueError(f"no extractor is named {name!r}; write one of {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name]


def extract(text: str, name: str) -> str | None:
    """The answer in a text as the named extractor reads it, None when it finds none."""
    return extractor(name)(text)


def everything(text: str, name: str) -> list[str]:
    """All answers that a text marks as final, where the extractor has marks (``boxed``, ``answer``); else the one it reads."""
    if name in ("boxed", "answer"):
        return boxes(text) if name == "boxed" else tags(text)
    found = extract(text, name)
    return [] if found is None else [found]


def rational(text: str) -> Fraction | None:
    r"""The exact value of a text that is one number and nothing else, or None.

    Read: sign, thousands commas in groups of three, decimals, an exponent of up to three digits, a/b and \frac{a}{b}, a
    leading currency sign, enclosing $...$, a closing full stop. Not read: percent, units, mixed numbers, anything longer
    than ``LONGEST``.
    """
    if len(text) > LONGEST:
        return None
    match = _RATIONAL.fullmatch(_unwrap(text))
    if match is None:
        return None
    top, bottom = (Fraction(x.replace(",", "")) if x else Fraction(1) for x in match.groups())
    return top / bottom if bottom else None


def canonical(text: str) -> str:
    r"""One form for answers of equal value: what votes are counted by and what ``exact`` compares.

    A text that is one number (see ``rational``) becomes it in lowest terms: "0.50", "1/2", "+.5", "$\frac{2}{4}$" -> "1/2";
    "1,000" and "1000.0" -> "1000"; so "6/8" votes with "3/4", and "007" with "7". Any other text keeps its words: case,
    repeated blanks, blank lines, blanks beside , ; : = and brackets, enclosing $...$, \left, \right, \text{...}
    and a closing full stop make no difference; line breaks do. Percent stays: "50%" is neither "50" nor "1/2".
    """
    value = rational(text)
    if value is not None:
        return str(value)
    if len(text) <= LONGEST:
        text = _unwrap(text)
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.casefold().splitlines())
    return re.sub(r" ?([,;:=()\[\]{}]) ?", r"\1", "\n".join(line for line in lines if line))


def _latex_spaces(text: str) -> str:
    return re.sub(r"\\[,!; ]", "", text.replace("−", "-").replace("{,}", ","))


def _slash(match: re.Match[str]) -> str:
    sign, top, digit, bottom, other = match.groups()
    top, bottom = top or digit, bottom or other
    parts = [x if _BARE.fullmatch(x) else f"({x})" for x in (top, bottom)]
    return f"{sign}{parts[0]}/{parts[1]}"


def _unwrap(text: str) -> str:
    text = _latex_spaces(text).strip()
    for _ in range(4):  # each round takes off one layer; four are more than any answer has
        before = text
        text = text.strip().removesuffix(".").rstrip() if not re.search(r"\.\.$", text) else text
        for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
            if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
                text = text[len(opening) : -len(closing)].strip()
        text = re.sub(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}", r"\1", text)
        text = re.sub(r"\\(?:left|right)(?![a-zA-Z])", "", text)
        if text == before:
            break
    text = re.sub(r"^([-+]?)\\?\$(?=[.0-9])", r"\1", text)
    return _FRAC.sub(_slash, text)
