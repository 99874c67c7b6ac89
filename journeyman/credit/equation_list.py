"""What makes two worked answers the same: their equations."""

from __future__ import annotations

import re
from collections.abc import Hashable

from journeyman.protocols import declare

_ANNOTATED = re.compile(r"<<([^<>=]*)=([^<>]*)>>")
_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
_EQUATION = re.compile(rf"((?:[(\s]*{_NUMBER}[)\s]*[-+*/×÷x])+[(\s]*{_NUMBER}[)\s]*)=\s*\$?({_NUMBER})")


@declare()
def equation_list(text: str) -> Hashable:
    """The equations of a text in order, blanks and thousands commas taken out: what RFT compares reasoning paths by.

    Reads <<3+4=7>> annotations where there are any, else "number operator number ... = number". A text without equations
    is its own stripped self, so that answers in words are not all one.
    """
    found = _ANNOTATED.findall(text) or _EQUATION.findall(text)
    plain = str.maketrans({" ": None, ",": None, "\n": None, "$": None, "×": "*", "x": "*", "÷": "/"})
    return tuple(f"{left}={right}".translate(plain) for left, right in found) or text.strip()
