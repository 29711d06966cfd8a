import pytest
from recorded_walk import make_walk


@pytest.fixture
def walk():
    """Eight frames of 32x24 with depth."""
    return make_walk()
