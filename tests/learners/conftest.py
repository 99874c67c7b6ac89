import pytest

from tests.learners.tiny import Tiny


@pytest.fixture
def policy():
    return Tiny()
