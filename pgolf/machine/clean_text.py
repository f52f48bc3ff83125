"""Text of files and names, made safe to show in one line."""

import re

# Lone surrogates, noncharacters, direction marks and invisible characters.
INVISIBLE = re.compile(
    "[\ud800-\udfff\ufffe\uffff\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """A text as one line without control characters, lone surrogates and invisible characters."""
    if text.isprintable():
        return text
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", INVISIBLE.sub("?", text)).strip()
