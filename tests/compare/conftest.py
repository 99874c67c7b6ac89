"""The tiny model and the tasks of the command line's tests."""

from tests.cli.conftest import model, one_thread, place

__all__ = ["model", "one_thread", "place"]
