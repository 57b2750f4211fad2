"""What is the same on the command lines of all processes of a line."""

from __future__ import annotations

import os
import signal

import pytest

from hotloop.edge.options import stopped_by_signals


@pytest.fixture
def handlers():
    """The signals' own handlers, put back afterwards."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_process_is_told_to_stop_and_goes_on_until_it_has(kind):
    """Neither signal ends it at once: what it does is brought to its end."""
    stop = stopped_by_signals()
    assert not stop.is_set()
    os.kill(os.getpid(), kind)
    assert stop.wait(1.0)
