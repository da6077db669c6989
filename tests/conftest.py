"""For all tests: no deadline on a loaded machine, and in CI nothing is skipped that CI could run."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile("hivequeen", deadline=None)
settings.load_profile("hivequeen")

# The one thing that a machine may lack and no package brings: another Python.
EXCUSED = "no Python "


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if EXCUSED not in reason:
            report.outcome = "failed"
            report.longrepr = (
                f"{report.nodeid} was skipped in CI ({reason}); script/bootstrap --test installs what it needs"
            )
    return report
