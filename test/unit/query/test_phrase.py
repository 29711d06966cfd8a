import pytest

from m3_ros.errors import QueryError
from m3_ros.query.phrase import subject


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("find the chair", "chair"),
        ("Find the red chair.", "red chair"),
        ("where is my backpack?", "backpack"),
        ("Please take me to the fire extinguisher, please", "fire extinguisher"),
        ("chair", "chair"),
        ("is there a bicycle in the room?", "bicycle"),
        ("another chair", "another chair"),
        ("showcase", "showcase"),
        ("find", "find"),
        ("teddy bear", "teddy bear"),
    ],
)
def test_words_around_the_thing_fall_away(text, expected):
    assert subject(text) == expected


@pytest.mark.parametrize("text", ["", "   ", "?!", "\n"])
def test_question_without_words_is_refused(text):
    with pytest.raises(QueryError, match="words"):
        subject(text)
