"""A site gets a head of its own where that is proven to serve it better, and gives it up once it is proven worse."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from hotloop.config import GateConfig, LearnConfig
from hotloop.errors import ModelError
from hotloop.generalise import by_site
from hotloop.predict import Predictor, pack_head, unpack_head
from hotloop.rollout import Watch
from hotloop.site_heads import FIRST, SiteHeads, SiteState
from hotloop.types import Head, Judgement, Selection

LOOSE = GateConfig(tolerance=1.0, slice_tolerance=1.0, site_tolerance=1.0)


def same(x):
    """What is true at most sites: worn above the diagonal."""
    return x.sum() > 0


def other(x):
    """What is true at the odd one."""
    return x.sum() < 0


def piece(loop, site, truth):
    """A piece of a site, sensed and verified; whether it was answered rightly by what answers at that site."""
    loop.engine.config = msgspec.structs.replace(loop.config, site=site)
    loop.engine._predictor._site = site
    loop.engine._predictor.current = loop.engine._predictor.fitted(loop.engine.model, loop.engine.vertical)
    said, _ = loop.sense()
    label = "worn" if truth(said.proposals.array()[0]) else "ok"
    loop.say(said, label)
    return said.outputs[0].label == label


def grown(loop, rounds, **sites):
    """So many pieces of each site, one release a round; the share of right answers of the last 40, by site."""
    right = {site: [] for site in sites}
    for _ in range(rounds):
        for site, truth in sites.items():
            right[site].append(piece(loop, site, truth))
        loop.settle()
    return {site: float(np.mean(found[-40:])) for site, found in right.items()}


@pytest.fixture
def loop(stand):
    """A loop whose gate lets everything through, so that what sites contradict each other in is learned."""
    return stand(gate=LOOSE)


def test_a_site_that_differs_gets_a_head_of_its_own(stand):
    """Three sites agree, one contradicts them: shared, it is answered wrongly; with its own, rightly. The judgement
    says why, the others keep the shared one, and the log leads to the same releases.
    """
    loop = stand()  # with the gate as it is by default
    loop_sites = {"north": same, "south": same, "west": same, "odd": other}
    before = grown(loop, FIRST - 5, **loop_sites)
    assert before["odd"] < 0.4
    assert not loop.engine.lineage.champion.own
    after = grown(loop, 60, **loop_sites)
    head = loop.engine.lineage.champion
    assert set(head.own) == {"odd"}
    assert after["odd"] > 0.9
    assert min(after[site] for site in ("north", "south", "west")) > 0.9
    assert unpack_head(loop.engine.model.head).own.keys() == {"odd"}
    said = [one.reason for one in loop.bodies(Judgement) if "'odd'" in one.reason]
    assert len(said) == 1
    assert "site 'odd' is answered by its own head: error" in said[0]
    loop.engine.config = loop.config
    loop.rebuilt()


def test_sites_that_agree_share_one_head(loop):
    """Nothing is proven, so nothing changes."""
    grown(loop, FIRST + 20, north=same, south=same)
    assert not loop.engine.lineage.champion.own
    state = loop.engine.lineage.now.sites.state()
    assert {site: (one.looks, one.share) for site, one in state.items()} == {"north": (1, 1.0), "south": (1, 1.0)}


def test_one_site_is_never_looked_at(loop):
    """There is nobody to share with."""
    grown(loop, FIRST + 20, north=same)
    assert loop.engine.lineage.now.sites.due() == []


def test_it_can_be_switched_off(stand):
    """`learn.site_heads = false`."""
    loop = stand(gate=LOOSE, learn=LearnConfig(site_heads=False))
    grown(loop, FIRST + 10, north=same, south=same, odd=other)
    assert not loop.engine.lineage.champion.own
    assert loop.engine.lineage.now.sites.state() == {}


def test_a_head_of_its_own_that_turns_out_worse_is_given_up(loop):
    """The odd site becomes as the others are: its own head errs, and the shared one comes back, with the reason."""
    sites = {"north": same, "south": same, "west": same}
    grown(loop, FIRST + 5, **sites, odd=other)
    assert set(loop.engine.lineage.champion.own) == {"odd"}
    grown(loop, 40, **sites, odd=same)
    assert not loop.engine.lineage.champion.own
    assert any("answered by the shared head again" in one.reason for one in loop.bodies(Judgement))
    loop.engine.config = loop.config
    loop.rebuilt()


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_restart_remembers(loop, snapshot):
    """With a snapshot and without: the same choice, and the same next release as without a restart."""
    sites = {"north": same, "south": same, "west": same, "odd": other}
    grown(loop, FIRST + 5, **sites)
    before = loop.engine.lineage.now.sites.state()
    loop.engine.config = loop.config
    loop.engine.close()
    if not snapshot:
        loop.snapshots.state = None
    loop.start()
    assert loop.engine.lineage.now.sites.state() == before
    assert set(unpack_head(loop.engine.model.head).own) == {"odd"}


def test_a_rollback_brings_back_what_sites_had_then(loop):
    """The former state's heads, those of sites too, to the last bit."""
    sites = {"north": same, "south": same, "west": same, "odd": other}
    grown(loop, 30, **sites)
    former = loop.engine.model
    grown(loop, FIRST - 20, **sites)
    assert loop.engine.lineage.champion.own
    loop.engine.config = loop.config
    loop.order("rollback", version=former.version)
    assert loop.engine.model.head == former.head
    assert not loop.engine.lineage.champion.own


def test_a_line_answers_with_the_head_of_its_site(loop):
    """The others with the shared one."""
    labels, shared, own = ("ok", "worn"), np.eye(3, 2), -np.eye(3, 2)
    head = Head(labels, shared, (0.0, 0.0), {"odd": own})
    packed = pack_head(head)
    np.testing.assert_array_equal(unpack_head(packed).at("odd").weights, own)
    np.testing.assert_array_equal(unpack_head(packed).at("north").weights, shared)
    assert pack_head(unpack_head(packed)) == packed
    assert len(pack_head(head.at("north"))) < len(packed)
    model = msgspec.structs.replace(
        loop.engine.model, version=9, head=pack_head(Head(loop.engine.labels, loop.vertical.start().weights + 1.0,
        loop.vertical.start().thresholds, {"odd": loop.vertical.start().weights - 1.0})),
    )  # fmt: skip
    for site, sign in (("odd", -1.0), ("north", 1.0)):
        found = Predictor(loop.vertical, site).fitted(model)
        np.testing.assert_array_equal(found.head.weights, loop.vertical.start().weights + sign)


def test_a_packed_head_whose_sites_do_not_fit_is_refused():
    """Another size, too many, no numbers."""
    shared = np.zeros((3, 2))
    with pytest.raises(ModelError, match="cannot be 16 bytes"):
        unpack_head(pack_head(Head(("a", "b"), shared, (0, 0), {"x": np.zeros((2, 2))})))
    with pytest.raises(ModelError, match="not finite"):
        pack_head(Head(("a", "b"), shared, (0, 0), {"x": np.full((3, 2), np.nan)}))
    with pytest.raises(ModelError, match="at most 64"):
        unpack_head(pack_head(Head(("a", "b"), shared, (0, 0), {str(k): shared for k in range(65)})))


def test_another_backbone_keeps_what_was_chosen(stand):
    """The odd site is answered by its own head on the new one from the first release on; gate and watch judge by it."""
    loop = stand(turned=True)
    sites = {"north": same, "south": same, "west": same, "odd": other}
    grown(loop, FIRST + 30, **sites)
    assert set(loop.engine.lineage.champion.own) == {"odd"}
    loop.engine.config = loop.config
    loop.retrained([[0.0, 1.0], [1.0, 0.0]])
    loop.settle()
    assert loop.engine.model.backbone != loop.vertical.backbone
    assert set(unpack_head(loop.engine.model.head).own) == {"odd"}
    right = grown(loop, 40, **sites)
    assert right["odd"] > 0.9
    assert not loop.engine.lineage.standby.watch.alarm
    loop.engine.config = loop.config
    loop.rebuilt()


def test_a_site_whose_lessons_are_all_taken_out_has_no_head_of_its_own(stand):
    """There is nothing that it could be made of."""
    loop = stand()
    grown(loop, FIRST + 20, north=same, south=same, west=same, odd=other)
    assert set(loop.engine.lineage.champion.own) == {"odd"}
    loop.engine.config = loop.config
    loop.order("unlearn", selection=Selection(site="odd"))
    assert not loop.engine.lineage.champion.own


def test_a_look_without_evidence_changes_nothing(loop):
    """What a site has is watched, and given up when it is proven worse: not because a look is undecided."""
    heads = SiteHeads(loop.config)
    heads.restore({"a": SiteState(FIRST, 0, 0.3, Watch(0.0, 0.05).state()), "b": SiteState(5)})
    grown(loop, 20, a=same, b=same)
    learned = loop.engine.lineage.now
    assert heads.due() == ["a"]
    assert heads.look(learned.reflex, lambda: by_site(learned), learned.champion) == []
    assert (heads.state()["a"].share, heads.state()["a"].looks) == (0.3, 1)


def test_the_gate_judges_by_what_answers_at_a_site(loop):
    """A candidate without the odd site's own head is worse there, and by no less than it is."""
    grown(loop, FIRST + 20, north=same, south=same, west=same, odd=other)
    learned = loop.engine.lineage.now
    head = learned.champion
    with_own, without = learned.recent.losses(head, replace(head, own={}))
    odd = np.array(learned.recent.sites()) == "odd"
    assert without[odd].mean() > with_own[odd].mean() + 0.5
    np.testing.assert_array_equal(with_own[~odd], without[~odd])


def test_sites_are_bounded(loop):
    """Those that come too late share the head of all, and cost no memory."""
    heads = SiteHeads(loop.config)
    rows = loop.engine.lineage.now.rows
    loop.verified()
    loop.settle()
    [example] = loop.engine.lineage.now.examples.values()
    for number in range(80):
        assert heads.judge(f"site-{number}", rows(example), loop.engine.lineage.champion) == ""
    assert len(heads.state()) == 64
    other_heads = SiteHeads(loop.config)
    other_heads.restore({"a": SiteState(7)})
    assert other_heads.state() == {"a": SiteState(7)}
