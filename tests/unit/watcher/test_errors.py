"""Errors: their hints, and the exit codes that other programs rely on."""

import re

import pytest

from watcher import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError, 2),
        (errors.ConfigError, 2),
        (errors.NotFound, 1),
        (errors.Unreachable, 3),
        (errors.Halted, 3),
        (errors.LeaseHeld, 3),
        (errors.LeaseLost, 3),
    ],
)
def test_each_error_ends_a_command_with_its_documented_code(
    error: type[errors.WatcherError], code: int
) -> None:
    raised = error("what is wrong", "what to do")
    assert (str(raised), raised.hint, raised.exit_code) == ("what is wrong", "what to do", code)
    assert error("what is wrong").hint == ""
    assert re.search(rf"── {error.__name__} +{code} ", errors.__doc__ or "")
