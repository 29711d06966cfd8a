"""The thing asked for, out of the words around it: "please find the red chair" is about "red chair"."""

import re

from m3_ros.errors import QueryError

_LEAD = re.compile(
    r"^(?:please|robot|hey|now|can you|could you|would you|i want you to|find|search for|look for|looking for|locate|"
    r"where is|where are|where's|show me|show|go to|walk to|drive to|take me to|bring me to|navigate to|"
    r"the|a|an|some|my|our|any|is there|are there)\b[\s,:]*",
    re.IGNORECASE,
)
_TAIL = re.compile(r"(?:[\s,]+(?:please|for me|in the room|in this room|here))+$", re.IGNORECASE)


def subject(text: str) -> str:
    """Return the noun phrase that a question is about.

    Raises:
        QueryError: the text has no words.
    """
    phrase = re.sub(r"\s+", " ", text).strip(" \t\n.?!,;:\"'")
    if not re.search(r"\w", phrase):
        raise QueryError(f'a question needs words such as "find the chair"; got {text!r}')
    original = phrase
    while True:
        shorter = _TAIL.sub("", _LEAD.sub("", phrase)).strip(" .?!,;:")
        if not shorter:
            return original
        if shorter == phrase:
            return phrase
        phrase = shorter
