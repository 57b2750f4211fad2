"""Does it hold elsewhere: gaps between sites, releases that over-fit one, and which head serves a site."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hotloop.config import GateConfig
from hotloop.generalise import Gap, by_site, gaps, harm
from hotloop.learn import Moments, Sums
from hotloop.site_heads import choose
from hotloop.types import Head, Rows

CONFIG = GateConfig(slice_least_examples=10)


def grown(stand, **sites):
    """A loop that has learned of several sites: each has its own truth, a function of x."""
    loop = stand(gate=GateConfig(tolerance=1.0, slice_tolerance=1.0, site_tolerance=1.0))
    for _ in range(60):
        for site, truth in sites.items():
            loop.engine.config = msgspec.structs.replace(loop.config, site=site)
            piece, _ = loop.sense()
            x = piece.proposals.array()[0]
            loop.say(piece, "worn" if truth(x) else "ok")
        loop.settle()
    return loop


def same(x):
    """What is true at most sites."""
    return x.sum() > 0


def other(x):
    """What is true at the odd one."""
    return x.sum() < 0


def test_sites_that_agree_have_no_gap(stand):
    """The head that never saw a site answers there as well as the one that did."""
    loop = grown(stand, north=same, south=same)
    assert set(by_site(loop.engine.lineage.now)) == {"north", "south"}
    found = gaps(loop.engine.lineage.now, CONFIG)
    assert len(found) == 2
    assert all(gap.e_value < 20 for gap in found)
    assert harm(loop.engine.lineage.now, loop.engine.lineage.champion, CONFIG) == ""


def test_sites_that_contradict_each_other_show(stand):
    """Each is answered wrongly by what the other taught; and what one taught makes the other worse: such a release is
    held.
    """
    loop = grown(stand, north=same, odd=other)
    learned = loop.engine.lineage.now
    found = gaps(learned, CONFIG)
    assert all(gap.unseen > 0.8 for gap in found)
    assert found[0].e_value > 20
    assert "never saw it" in gaps(learned, CONFIG)[0].words()
    assert "over-fits the site" in harm(learned, learned.champion, CONFIG)


def test_one_site_has_nobody_to_be_compared_with(stand):
    """No gap, no harm."""
    loop = stand()
    loop.taught(30, group=5)
    assert gaps(loop.engine.lineage.now, CONFIG) == []
    assert harm(loop.engine.lineage.now, loop.engine.lineage.champion, CONFIG) == ""


def test_few_pieces_are_no_evidence(stand):
    """A site with fewer than the least number is not judged, and does not judge."""
    loop = grown(stand, north=same, south=same)
    strict = GateConfig(slice_least_examples=10_000)
    assert gaps(loop.engine.lineage.now, strict) == []
    assert harm(loop.engine.lineage.now, loop.engine.lineage.champion, strict) == ""


def test_a_release_that_overfits_is_held_with_the_reason(stand):
    """In the loop itself: the odd site's verdicts are held where they make the others worse."""
    loop = stand(gate=GateConfig(tolerance=1.0, slice_tolerance=1.0, site_tolerance=0.02, window_examples=300))
    for site, truth, count in (("north", same, 60), ("south", same, 60), ("odd", other, 150)):
        loop.engine.config = msgspec.structs.replace(loop.config, site=site)
        for _ in range(count):
            piece, _ = loop.sense()
            loop.say(piece, "worn" if truth(piece.proposals.array()[0]) else "ok")
            loop.settle()
    held = [judgement for judgement in loop.judgements if "over-fits the site 'odd'" in judgement.reason]
    assert held
    assert all(judgement.decision == "refuse" for judgement in held)
    loop.rebuilt()


def site(rng, truth, count=80):
    """A site's rows, one a piece."""
    x = np.concatenate([np.ones((count, 1)), rng.normal(size=(count, 2))], axis=1)
    worn = np.array([truth(row[1:]) for row in x])
    return [Rows(row[None], np.eye(2)[int(w)][None], np.ones(1)) for row, w in zip(x, worn, strict=True)]


@pytest.mark.parametrize(("truth", "wanted"), [(other, 0.0), (same, 1.0)])
def test_the_head_that_serves_a_site_is_chosen_by_evidence(truth, wanted):
    """Its own where the others' truth is another; the shared one where nothing better is proven."""
    rng = np.random.default_rng(0)
    own, others = Moments(3, 2, 1.0), Sums(3, 2)
    pieces = site(rng, truth)
    for rows in pieces:
        own.learn(rows)
    for rows in site(rng, same, 400):
        others.add(rows)
    head = Head(("ok", "worn"), np.zeros((3, 2)), (-1e6, -1e6))
    found = choose(own, others, pieces, head, 0.05)
    assert found.share == wanted
    assert found.reason.startswith("the shared head") == (wanted == 1.0)
    assert set(found.losses) == {0.0, 0.1, 0.3, 1.0}


def test_a_blend_serves_a_small_site_of_a_kind_between():
    """A few pieces of its own and a truth near the others': neither alone is as good, and the words say the share."""
    rng = np.random.default_rng(3)
    own, others = Moments(3, 2, 1.0), Sums(3, 2)
    pieces = site(rng, lambda x: x[0] + 3 * x[1] > 0.8, 300)
    for rows in pieces:
        own.learn(rows)
    for rows in site(rng, same, 3000):
        others.add(rows)
    found = choose(own, others, pieces, Head(("ok", "worn"), np.zeros((3, 2)), (-1e6, -1e6)), 0.05)
    assert found.share < 1.0
    assert "e-value" in found.reason


def test_a_gap_reads_as_a_sentence():
    """With its counts and evidence."""
    assert Gap("north", 30, 0.1, 0.25, 3.0).words() == (
        "site 'north': error 0.100, and 0.250 with a head that never saw it (30 pieces, e-value 3)"
    )
