"""The laws of the Channel: the embedded one (its own twin) keeps them; each finds one that breaks it."""

from __future__ import annotations

import pytest

from hotloop.store.channel import LocalChannel
from hotloop.testing.checks import channel as laws


def names(law):
    return getattr(law, "__name__", None)


@pytest.mark.parametrize("law", laws.LAWS, ids=names)
def test_the_embedded_channel_keeps_the_law(law):
    """LocalChannel does what every Channel must."""
    law(LocalChannel)


def test_check_channel_runs_every_law_on_a_channel_of_its_own():
    """`check_channel` makes one new channel a law."""
    made = []

    def make():
        made.append(LocalChannel())
        return made[-1]

    laws.check_channel(make)
    assert len(made) == len(laws.LAWS) == 7


class StepByStep(LocalChannel):
    def __init__(self):
        super().__init__()
        self.all = []

    def publish(self, release, model):
        super().publish(release, model)
        self.all.append(model)

    def follow(self, line, after, timeout_s):
        newer = [model for model in self.all if model.version > after]
        return newer[0] if newer else None


class Insistent(LocalChannel):
    def follow(self, line, after, timeout_s):
        return super().follow(line, min(after, 2), timeout_s)


class Impatient(LocalChannel):
    def follow(self, line, after, timeout_s):
        return super().follow(line, after, 0.0)


class GoesBack(LocalChannel):
    def publish(self, release, model):
        self._newest = None
        super().publish(release, model)


class HighestCounts(LocalChannel):
    def acknowledge(self, live):
        if live.version > self.lines().get(live.line, 0):
            super().acknowledge(live)


class Presumes(LocalChannel):
    def follow(self, line, after, timeout_s):
        model = super().follow(line, after, timeout_s)
        if model is not None:
            self.acknowledge(laws.Live(line=line, version=model.version))
        return model


class NeverCloses(LocalChannel):
    def follow(self, line, after, timeout_s):
        return super().follow(line, after, min(timeout_s, 0.05)) or laws.model(1)


@pytest.mark.parametrize(
    ("law", "broken"),
    [
        (laws.a_line_gets_the_newest_in_one_step, StepByStep),
        (laws.a_line_that_is_up_to_date_waits_in_vain, Insistent),
        (laws.hundreds_wait_and_all_get_it, Impatient),
        (laws.versions_rise, GoesBack),
        (laws.the_last_word_of_a_line_counts, HighestCounts),
        (laws.following_is_not_acknowledging, Presumes),
        (laws.closing_ends_all_waiting, NeverCloses),
    ],
    ids=names,
)
def test_the_law_finds_a_channel_that_breaks_it(law, broken):
    """A law that never fails is not known to work."""
    with pytest.raises(AssertionError):
        law(broken)
