"""One complete run for all tests of the report."""

from pathlib import Path

import pytest

from tests.report.made import complete_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete_run(tmp_path_factory.mktemp("report") / "run")
