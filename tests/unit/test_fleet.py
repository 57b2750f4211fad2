"""What the hub knows of its lines, and how far a release has got with them."""

from __future__ import annotations

import msgspec
import pytest

from hotloop import fleet as module
from hotloop.config import RolloutConfig
from hotloop.errors import DiskFullError, InputError
from hotloop.fleet import Fleet
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Command, Declined, Event, LineReport, Live, Model, Staged


def model(version, backbone="a"):
    return Model(
        version=version, parent=version - 1, tier="reflex", backbone=backbone, head=b"", labels=("ok",), recipe="r"
    )


@pytest.fixture
def clock():
    return SimulatedClock()


@pytest.fixture
def fleet(clock):
    """Twenty lines of two sites, on the first backbone."""
    found = Fleet(RolloutConfig(), clock)
    found.released(model(1))
    for k in range(20):
        found.heard(LineReport(line=f"line-{k:02}", site=f"site-{k // 10}", version=1))
    return found


def who(fleet):
    """The lines that may take the newest."""
    return [f"line-{k:02}" for k in range(20) if fleet.may(f"line-{k:02}")]


def test_a_head_on_the_same_backbone_is_for_all(fleet):
    """At once."""
    fleet.released(model(2))
    assert len(who(fleet)) == 20
    assert fleet.settled().version == 2
    assert fleet.tick() is None
    assert fleet.view().rollout == ""


def test_another_backbone_goes_out_in_waves(fleet, clock):
    """Two lines, then a site, then all; heads learned meanwhile go where the backbone is."""
    fleet.released(model(2, "b"))
    assert who(fleet) == []
    step = fleet.tick()
    assert (step.action, step.first, step.backbone, step.number) == ("offer", 2, "b", 1)
    assert step.lines == ("line-00", "line-01")
    assert who(fleet) == ["line-00", "line-01"]
    assert fleet.settled().version == 1
    fleet.released(model(3, "b"))
    assert who(fleet) == ["line-00", "line-01"]
    assert fleet.tick() is None
    assert "do not answer with it yet" in fleet.view().rollout
    for line in who(fleet):
        fleet.acknowledged(Live(line=line, version=3))
    clock.advance(10.0)
    generation = fleet.generation
    assert fleet.tick().action == "offer"
    assert fleet.generation > generation
    assert who(fleet) == [f"line-{k:02}" for k in range(10)]
    for line in who(fleet):
        fleet.acknowledged(Live(line=line, version=3))
    clock.advance(10.0)
    assert fleet.tick().action == "everywhere"
    assert len(who(fleet)) == 20
    assert fleet.settled().version == 3
    fleet.released(model(4, "b"))
    assert fleet.settled().version == 4


def test_what_a_wave_declines_is_stopped_and_the_way_back_is_for_all(fleet):
    """Said once; nobody may take it any more; the former backbone under a new version goes to everybody."""
    fleet.released(model(2, "b"))
    fleet.tick()
    fleet.declined(Declined(line="line-01", version=2, stays=1, reason="it answers with what is no number"))
    plan = fleet.tick()
    assert plan.action == "roll back"
    assert "line-01: it answers with what is no number" in plan.reason
    assert fleet.tick() is None
    assert who(fleet) == []
    view = fleet.view()
    assert (view.newest, view.settled) == (2, 1)
    assert [one.declined for one in view.lines if one.declined] == ["it answers with what is no number"]
    fleet.released(model(3, "a"))
    assert len(who(fleet)) == 20
    assert fleet.view().rollout == ""


def test_another_release_after_one_that_was_stopped_begins_anew(fleet):
    """A third backbone."""
    fleet.released(model(2, "b"))
    fleet.tick()
    fleet.declined(Declined(line="line-01", version=2, stays=1, reason="no"))
    assert fleet.tick().action == "roll back"
    fleet.released(model(3, "c"))
    assert who(fleet) == []
    fleet.tick()
    assert who(fleet) == ["line-00", "line-01"]


def test_a_backbone_that_comes_again_is_asked_about_again(fleet):
    """An engineer promotes it once more, after the devices were mended; who answers with it has not declined it."""
    fleet.released(model(2, "b"))
    fleet.tick()
    fleet.declined(Declined(line="line-01", version=2, stays=1, reason="no memory"))
    assert fleet.tick().action == "roll back"
    fleet.released(model(3, "a"))
    fleet.released(model(4, "b"))
    assert fleet.tick().lines == ("line-00", "line-01")
    assert fleet.tick() is None
    fleet.declined(Declined(line="line-01", version=4, stays=3, reason="not yet"))
    fleet.acknowledged(Live(line="line-01", version=4))
    assert fleet.tick() is None
    assert fleet.view().lines[1].declined == ""


def test_a_release_that_nobody_knows_of_is_declined_in_vain(fleet):
    """Its backbone is forgotten."""
    fleet.declined(Declined(line="line-01", version=77, stays=1, reason="no"))
    assert fleet.view().lines[1].declined == ""


def test_the_fleet_is_shown_as_it_is(fleet, clock):
    """With how long ago each was heard."""
    clock.advance(30.0)
    fleet.seen("line-03")
    view = fleet.view()
    assert [one.silent_s for one in view.lines[2:5]] == [30.0, 0.0, 30.0]
    assert view.lines[0].report.site == "site-0"
    assert msgspec.json.decode(msgspec.json.encode(view), type=module.FleetView) == view


def test_memory_is_bounded(monkeypatch, clock):
    """The line that is silent for longest is forgotten; so are old versions' backbones."""
    monkeypatch.setattr(module, "_LINES_MAX", 3)
    fleet = Fleet(RolloutConfig(), clock)
    for k in range(5):
        fleet.seen(f"line-{k}")
    assert [one.line for one in fleet.view().lines] == ["line-2", "line-3", "line-4"]
    for version in range(1, 1200):
        fleet.released(model(version, f"backbone-{version}"))
    assert len(fleet._backbones) <= 1001
    for version in range(1200, 1300):
        fleet.declined(Declined(line="line-2", version=version, stays=1, reason="no"))
    assert len(fleet._lines["line-2"].declined) == 16


def test_without_a_model_there_is_nothing_to_roll_out(clock):
    """A hub that has just begun."""
    fleet = Fleet(RolloutConfig(), clock)
    assert fleet.settled() is None
    assert fleet.may("line-1")
    assert fleet.tick() is None
    assert (fleet.view().newest, fleet.view().settled) == (0, 0)


def ready(stand):
    """A loop with two lines besides the hub's own, whose backbone has just been exchanged."""
    loop = stand(turned=True)
    loop.taught(40, group=5)
    fleet = loop.engine.fleet
    for line in ("line-2", "line-3"):
        fleet.heard(LineReport(line=line, site="site-1", version=loop.engine.model.version))
    loop.retrained([[0.0, 1.0], [1.0, 0.0]])
    version = loop.settle()
    assert loop.engine.model.backbone != loop.vertical.backbone
    loop.engine.stage()
    return loop, fleet, version


def test_a_refresh_goes_to_a_wave_and_heads_on_it_follow(stand):
    """In the loop itself: the line that is no canary stays on the former backbone meanwhile."""
    loop, fleet, version = ready(stand)
    assert [fleet.may(line) for line in ("line-1", "line-2", "line-3")] == [True, False, False]
    assert fleet.settled().backbone == loop.vertical.backbone
    newer = loop.taught(3)
    assert newer > version
    assert not fleet.may("line-3")
    assert fleet.view().newest == newer


def test_a_refresh_that_a_line_declines_is_rolled_back(stand):
    """The line says why; the hub orders the way back, and every line may take the former backbone's new version."""
    loop, fleet, version = ready(stand)
    loop.engine.record([Event("line-1", 1, Declined(line="line-1", version=version, stays=3, reason="it hung"))])
    assert loop.engine.channel.lines()["line-1"] == 3
    loop.engine.stage()
    loop.settle()
    assert [step.action for step in loop.bodies(Staged)] == ["begin", "offer", "roll back", "everywhere"]
    assert loop.bodies(Command)[-1].by == "the lines"
    assert loop.engine.model.version == version + 1
    assert loop.engine.model.backbone == loop.vertical.backbone
    assert "it hung" in loop.judgements[-1].reason
    assert all(fleet.may(line) for line in ("line-1", "line-2", "line-3"))
    loop.rebuilt()


def reported(loop, *lines):
    """Two lines besides the hub's own say how they are."""
    for line in lines or ("line-2", "line-3"):
        loop.engine.fleet.heard(LineReport(line=line, site="site-1", version=1))


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_hub_that_restarts_goes_on_with_its_rollout(stand, snapshot):
    """From the log, with a snapshot and without: the same lines may take it, the others have the former backbone."""
    loop, fleet, version = ready(stand)
    newer = loop.taught(3)
    settled = fleet.settled()
    loop.engine.close()
    if not snapshot:
        loop.snapshots.state = None
    fleet = loop.start().fleet
    reported(loop)
    assert [fleet.may(line) for line in ("line-1", "line-2", "line-3")] == [True, False, False]
    assert fleet.settled() == settled
    assert fleet.view().newest == newer
    fleet.acknowledged(Live(line="line-1", version=newer))
    loop.clock.advance(11.0)
    loop.engine.stage()
    assert loop.bodies(Staged)[-1].action == "everywhere"
    assert loop.bodies(Staged)[-1].first == version
    loop.settle()
    loop.engine.close()
    fleet = loop.start().fleet
    assert fleet.settled().version == newer
    assert fleet.view().rollout == ""


def test_a_restart_before_the_first_wave_offers_it_to_nobody(stand):
    """The release is in the log, and what it begins with it."""
    loop = stand(turned=True)
    loop.taught(40, group=5)
    loop.retrained([[0.0, 1.0], [1.0, 0.0]])
    loop.settle()
    loop.engine.close()
    fleet = loop.start().fleet
    reported(loop)
    assert not any(fleet.may(line) for line in ("line-1", "line-2", "line-3"))
    loop.engine.stage()
    assert [fleet.may(line) for line in ("line-1", "line-2", "line-3")] == [True, False, False]


def test_a_restart_after_a_wave_has_declined_offers_it_to_nobody(stand):
    """And the order to go back, which was logged, is carried out."""
    loop, _, version = ready(stand)
    loop.engine.record([Event("line-1", 1, Declined(line="line-1", version=version, stays=3, reason="it hung"))])
    loop.engine.stage()
    loop.engine.close()
    fleet = loop.start().fleet
    assert not fleet.may("line-1")
    loop.settle()
    assert loop.engine.model.backbone == loop.vertical.backbone
    assert fleet.may("line-1")


def test_the_former_head_is_made_again_where_it_is_not_kept(stand):
    """A rollout that takes longer than the registry remembers."""
    loop, fleet, _version = ready(stand)
    settled = fleet.settled()
    loop.engine.close()
    del loop.registry._models[settled.version]
    fleet = loop.start().fleet
    assert fleet.settled().head == settled.head
    assert (fleet.settled().version, fleet.settled().backbone) == (settled.version, settled.backbone)


def test_a_frozen_loop_holds_its_rollout(stand):
    """Until the thaw; the words say so."""
    loop, fleet, version = ready(stand)
    loop.order("freeze")
    fleet.acknowledged(Live(line="line-1", version=version))
    loop.clock.advance(11.0)
    loop.engine.stage()
    assert "frozen" in fleet.view().rollout
    assert not fleet.may("line-3")
    loop.order("thaw")
    reported(loop)
    loop.engine.stage()
    assert loop.bodies(Staged)[-1].action != "begin"
    assert "frozen" not in fleet.view().rollout


def test_a_pinned_line_stays_and_is_not_waited_for(stand):
    """It is shown; a restart remembers; unpinned it is a line as others."""
    loop, fleet, version = ready(stand)
    loop.order("pin", line="line-2", reason="an audit")
    assert fleet.pinned() == {"line-2"}
    fleet.acknowledged(Live(line="line-1", version=version))
    loop.clock.advance(11.0)
    reported(loop)
    loop.engine.stage()
    assert loop.bodies(Staged)[-1].action == "everywhere", "nobody waits for a pinned line"
    assert [one.line for one in fleet.view().lines if one.pinned] == ["line-2"]
    loop.settle()
    loop.engine.close()
    fleet = loop.start().fleet
    assert fleet.pinned() == {"line-2"}
    loop.order("unpin", line="line-2")
    assert fleet.pinned() == frozenset()
    with pytest.raises(InputError, match="no line is named to pin"):
        loop.order("pin")
    loop.rebuilt()


def killed(loop):
    """The hub is gone without a word, and comes back."""
    loop.snapshots.state = None
    return loop.start().fleet


def test_a_hub_that_is_killed_goes_on_with_its_rollout(stand):
    """With nothing judged since it began: what is logged behind the last judgement counts."""
    loop, fleet, _version = ready(stand)
    settled = fleet.settled()
    fleet = killed(loop)
    reported(loop)
    assert fleet.settled() == settled
    assert [fleet.may(line) for line in ("line-1", "line-2", "line-3")] == [True, False, False]


def test_pins_survive_a_kill(stand):
    """An order is an order once it is in the log."""
    loop, _fleet, _version = ready(stand)
    loop.engine.command(Command(order="pin", by="ann", line="line-2"))
    assert killed(loop).pinned() == {"line-2"}
    loop.engine.command(Command(order="unpin", by="ann", line="line-2"))
    assert killed(loop).pinned() == frozenset()


@pytest.mark.parametrize("clean", [True, False])
def test_a_second_refresh_in_the_first_ones_wave_leaves_the_first_untried(stand, clean):
    """After a restart, too, the lines that had neither have the backbone of before both."""
    loop, fleet, _version = ready(stand)
    first, settled = loop.engine.model.backbone, fleet.settled()
    loop.retrained([[0.6, 0.8], [-0.8, 0.6]])
    loop.settle()
    assert loop.engine.model.backbone not in (first, settled.backbone)
    if clean:
        loop.engine.close()
        fleet = loop.start().fleet
    else:
        fleet = killed(loop)
    assert fleet.settled() == settled
    reported(loop)
    loop.engine.stage()
    assert [fleet.may(line) for line in ("line-1", "line-2", "line-3")] == [True, False, False]


def test_what_was_declined_is_known_after_a_restart(stand):
    """And is not offered to the next one; nor does a verdict begin the rollout anew."""
    loop, fleet, version = ready(stand)
    said = Declined(line="line-1", version=version, stays=3, reason="it hung")
    loop.engine.record([Event("line-1", 1, said)])
    fleet = killed(loop)
    reported(loop)
    loop.engine.stage()
    assert loop.bodies(Staged)[-1].action == "roll back"
    assert not any(fleet.may(line) for line in ("line-2", "line-3"))


def test_a_head_after_a_restart_does_not_begin_the_rollout_anew(stand):
    """It goes on where it was."""
    loop, fleet, version = ready(stand)
    loop.engine.close()
    fleet = loop.start().fleet
    reported(loop)
    loop.taught(3)
    loop.engine.stage()
    assert [step.first for step in loop.bodies(Staged)] == [version] * len(loop.bodies(Staged))
    assert [fleet.may(line) for line in ("line-1", "line-2", "line-3")] == [True, False, False]


def test_many_heads_in_a_wave_do_not_begin_it_anew(fleet, clock):
    """Ten thousand releases long."""
    fleet.released(model(2, "b"))
    assert fleet.tick().number == 1
    for version in range(3, 10_000):
        fleet.released(model(version, "b"))
    for line in who(fleet):
        fleet.acknowledged(Live(line=line, version=9_000))
    clock.advance(10.0)
    for k in range(20):
        fleet.seen(f"line-{k:02}")
    step = fleet.tick()
    assert (step.action, step.number, step.first) == ("offer", 2, 2)


def test_the_way_back_is_for_all_at_once_even_in_a_frozen_loop(stand):
    """After "everywhere" a rollback to the former backbone is no experiment."""
    loop, fleet, version = ready(stand)
    fleet.acknowledged(Live(line="line-1", version=version))
    loop.clock.advance(11.0)
    reported(loop)
    loop.engine.stage()
    assert loop.bodies(Staged)[-1].action == "everywhere"
    loop.order("freeze")
    loop.order("rollback", version=3)
    assert loop.engine.model.backbone == loop.vertical.backbone
    assert all(fleet.may(line) for line in ("line-1", "line-2", "line-3"))
    assert fleet.settled().version == loop.engine.model.version
    fleet = killed(loop)
    assert fleet.settled().version == loop.engine.model.version


def test_a_step_that_the_disk_did_not_take_is_said_again(stand):
    """The word and the order together, once."""
    loop, _fleet, version = ready(stand)
    said = Declined(line="line-1", version=version, stays=3, reason="it hung")
    loop.engine.record([Event("line-1", 1, said)])
    loop.log.fails = [DiskFullError("full")]
    with pytest.raises(DiskFullError):
        loop.engine.stage()
    loop.engine.stage()
    loop.settle()
    assert [one.order for one in loop.bodies(Command)] == ["rollback"]
    assert loop.engine.model.backbone == loop.vertical.backbone
