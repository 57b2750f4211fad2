"""Orders: taken once, picked once, whatever becomes of the tours they are on."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import CorruptError, InputError, KeyConflictError, NotFoundError, OverloadError, StoreError
from hotloop.verticals.warehouse.batching import Order
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.robots.control import Tour
from hotloop.verticals.warehouse.robots.desk import Desk, OrderShown, Wanted, pick_id, picking
from hotloop.verticals.warehouse.robots.messages import Action, Parameter, Robot
from hotloop.verticals.warehouse.robots.route import route
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

LAYOUT = Layout(LayoutConfig(aisles=4, parts=3))
R0 = Robot("sim", "r0")
WAY = route(LAYOUT, [(0, 0.5), (0, 0.5), (0, 0.5), (0, 0.5)])


class Kept:
    """A desk, and what was kept of it."""

    def __init__(self, **settings):
        self.config = RobotsConfig(**settings)
        self.desk, self.records = Desk(self.config, LAYOUT), {}

    def keep(self, changes):
        self.records |= changes
        self.records = {name: data for name, data in self.records.items() if data is not None}

    def take(self, *names, picks=((1, 5.0), (2, 7.5))):
        fresh, changes = self.desk.take([Wanted(name, picks) for name in names], 1.0)
        self.keep(changes)
        return fresh

    def send(self, tour, *names, nodes=None):
        """Those of these names go on a tour, a node for each pick."""
        orders = [order for order in self.desk.waiting() if order.name in names]
        count = sum(len(order.picks) for order in orders)
        self.keep(self.desk.sent(tour, orders, nodes or list(range(1, count + 1))))

    def end(self, prediction, status="finished", **more):
        tour = Tour(prediction, WAY, R0, status=status, **more)
        self.keep(self.desk.ended(tour))

    def again(self, tours=()):
        """Another process."""
        self.desk = Desk(self.config, LAYOUT)
        self.keep(self.desk.begin(self.records, set(tours)))

    def names(self):
        return [order.name for order in self.desk.waiting()]

    def status(self, name):
        return self.desk.show(name).status


@pytest.fixture
def kept():
    return Kept()


def test_an_order_is_taken_once(kept):
    """Sent again it is known; of another content it is refused, and nothing of that request was taken."""
    assert kept.take("a", "b") == 2
    assert kept.take("a", "c") == 1
    with pytest.raises(KeyConflictError, match="an order a with other picks"):
        kept.desk.take([Wanted("d", ((1, 5.0),)), Wanted("a", ((1, 5.0),))], 1.0)
    assert kept.names() == ["a", "b", "c"]
    kept.send("t:1", "a")
    kept.end("t:1")
    assert (kept.take("a"), kept.status("a")) == (0, "picked")


def test_twice_in_one_request_is_once(kept):
    """With the same picks; with others it is refused."""
    assert kept.take("a", "a") == 1
    with pytest.raises(KeyConflictError):
        kept.desk.take([Wanted("b", ((1, 5.0),)), Wanted("b", ((1, 6.0),))], 1.0)
    assert kept.names() == ["a"]


def test_a_place_that_is_none_is_refused_whole(kept):
    """With its name in words."""
    with pytest.raises(InputError, match="no place 31 m into aisle 1"):
        kept.desk.take([Wanted("a", ((1, 5.0),)), Wanted("b", ((0, 31.0),))], 1.0)
    assert kept.names() == []


def test_too_many_that_wait_are_refused():
    """And known ones may still be sent again."""
    kept = Kept(orders_max=2)
    kept.take("a", "b")
    with pytest.raises(OverloadError, match="2 orders wait"):
        kept.take("c")
    assert kept.take("a", "b") == 0


def test_from_waiting_to_picked(kept):
    """Each state has its word."""
    kept.take("a", "b")
    assert kept.desk.counts() == {"waiting": 2, "on tour": 0, "picked": 0, "failed": 0}
    kept.send("t:1", "a", "b")
    assert kept.desk.show("a") == OrderShown("a", "on tour", ((1, 5.0), (2, 7.5)), (), (), "t:1")
    kept.end("t:1")
    assert kept.desk.show("b") == OrderShown("b", "picked", ((1, 5.0), (2, 7.5)), (0, 1), (), "")
    assert kept.desk.counts() == {"waiting": 0, "on tour": 0, "picked": 2, "failed": 0}
    with pytest.raises(NotFoundError):
        kept.desk.show("c")


@pytest.mark.parametrize("status", ["refused", "dropped", "cancelled"])
def test_what_a_tour_did_not_pick_waits_again_before_all_others(kept, status):
    """What it did pick is not picked again."""
    kept.take("a", "b", "c")
    kept.send("t:1", "a", "b")
    kept.take("d")
    kept.end("t:1", status, reached=2)  # the picks at nodes 1 and 2 are a's
    assert kept.status("a") == "picked"
    kept.send("t:2", "b")
    kept.end("t:2", status, reached=1)
    assert kept.names() == ["b", "c", "d"]
    assert kept.desk.waiting()[0].picks == ((2, 7.5),)
    kept.send("t:3", "b")
    kept.end("t:3", status)
    assert kept.names() == ["b", "c", "d"]


def test_where_a_robot_stops_to_pick_it_must_have_said_that_it_has(kept):
    """It is at the node, and the pick is not over: it is picked again; the one before it is not."""
    kept.take("a")
    kept.send("t:1", "a")
    work = {node: (Action(pick_id("t:1", node), "pick"),) for node in (1, 2)}
    way = replace(WAY, work=work)
    kept.keep(kept.desk.ended(Tour("t:1", way, R0, status="dropped", reached=2)))
    assert kept.desk.show("a").picked == (0,)
    kept.send("t:2", "a", nodes=[2])
    kept.keep(kept.desk.ended(Tour("t:2", way, R0, status="dropped", reached=2, done={pick_id("t:2", 2)})))
    assert kept.status("a") == "picked"


def test_what_cannot_be_picked_is_not_tried_again(kept):
    """A human looks: the order says which pick it was."""
    kept.take("a")
    kept.send("t:1", "a")
    kept.end("t:1", failed={pick_id("t:1", 2)}, done={pick_id("t:1", 1), pick_id("t:1", 2)})
    found = kept.desk.show("a")
    assert (found.status, found.picked, found.failed) == ("failed", (0,), (1,))
    assert (kept.names(), kept.desk.counts()["failed"]) == ([], 1)


def test_a_tour_that_is_no_order_changes_nothing(kept):
    """A robot that was sent home."""
    kept.take("a")
    kept.end("home:r0:1")
    assert kept.names() == ["a"]


def test_another_process_knows_all_of_it(kept):
    """Those that wait, in order; those on a tour; those that are over."""
    kept.take("a", "b", "c")
    kept.send("t:1", "a")
    kept.send("t:2", "b")
    kept.end("t:2")
    kept.again(["t:1"])
    assert [kept.status(name) for name in "abc"] == ["on tour", "picked", "waiting"]
    kept.end("t:1", "refused")
    kept.take("d")
    kept.again()
    assert kept.names() == ["a", "c", "d"]
    assert kept.take("a", "b", "c", "d") == 0


def test_orders_on_a_tour_that_nobody_knows_wait_again(kept):
    """Its robot was taken out of the fleet while the process was down."""
    kept.take("a", "b")
    kept.send("t:1", "a")
    kept.again([])
    assert kept.names() == ["a", "b"]
    kept.again([])
    assert kept.names() == ["a", "b"], "and that was kept"


def test_orders_of_another_warehouse_are_said(kept):
    """Instead of sending a robot through a wall."""
    kept.take("a")
    smaller = Desk(kept.config, Layout(LayoutConfig(aisles=2)))
    with pytest.raises(StoreError, match="was changed while order a waited"):
        smaller.begin(kept.records, set())
    kept.send("t:1", "a")
    kept.end("t:1")
    assert smaller.begin(kept.records, set()) == {}


def test_a_damaged_record_is_named(kept):
    """By the order's name."""
    with pytest.raises(CorruptError, match="order/a"):
        kept.desk.begin({"order/a": b"\xc1"}, set())


def test_orders_that_are_long_over_are_forgotten():
    """Nothing grows for ever; what is forgotten is no record either."""
    kept = Kept(orders_max=3)
    for number in range(10):
        kept.take(f"o{number}")
        kept.send(f"t:{number}", f"o{number}")
        kept.end(f"t:{number}")
    assert set(kept.records) == {"order/o7", "order/o8", "order/o9"}
    with pytest.raises(NotFoundError):
        kept.desk.show("o6")


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_happens_each_pick_is_picked_once(data):
    """Tours that finish, fail half way or are refused; processes that die; orders that are sent again."""
    kept, picked, number, names = Kept(), [], 0, [f"o{k}" for k in range(6)]
    while any(name not in {n for n, _ in picked} for name in names) or kept.names():
        kept.take(*data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)))
        batch = kept.names()[: data.draw(st.integers(1, 3))]
        if not batch:
            number += 1
            if number > 200:
                break
            continue
        number += 1
        tour = f"t:{number}"
        nodes = [(order.name, place) for order in kept.desk.waiting() if order.name in batch for place in order.picks]
        kept.send(tour, *batch)
        if data.draw(st.booleans()):
            kept.again([tour])
        reached = data.draw(st.integers(0, len(nodes))) if number < 100 else len(nodes)
        picked += nodes[:reached]
        kept.end(tour, "finished" if reached == len(nodes) else "dropped", reached=reached)
    assert len(picked) == len(set(picked))
    assert all(kept.status(name) == "picked" for name in {n for n, _ in picked})


def test_what_a_robot_does_at_a_node_names_the_place_and_the_orders():
    """One action a node, for all that is picked there; none where the robot drives past."""
    orders = [Order("a", ((1, 5.0), (2, 7.5))), Order("b", ((1, 5.0),))]
    found = picking("t:1", "pick", orders, [3, 7, 3])
    station = lambda place, names, count: (
        Parameter("stationName", place), Parameter("orders", names), Parameter("picks", count)
    )  # fmt: skip
    assert found == {
        3: (Action("t:1/pick-3", "pick", "HARD", station("a2-5.00", "a,b", 2.0)),),
        7: (Action("t:1/pick-7", "pick", "HARD", station("a3-7.50", "a", 1.0)),),
    }
    assert picking("t:1", "", orders, [3, 7, 3]) == {}


@pytest.mark.parametrize("text", [
    '{"order": "", "picks": [[1, 2]]}', '{"order": "a", "picks": []}', '{"order": "a"}',
    '{"order": "a b", "picks": [[1, 2]]}', '{"order": "a", "picks": [[1]]}', '{"order": "a", "picks": [["x", 2]]}',
    '{"order": "a", "picks": [[1, 2]], "x": 1}',
    '{"order": "a", "picks": %s}' % ([[1, 2]] * 65),
])  # fmt: skip
def test_what_is_no_order_cannot_be_read(text):
    """Its name, its picks, and nothing else."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Wanted)


def test_picks_are_kept_to_the_centimetre_and_are_not_all_at_the_depot():
    """Nodes are named by centimetres: two picks nearer than that are at one; to the depot nobody drives."""
    kept = Desk(RobotsConfig(), LAYOUT)
    kept.take([Wanted("near", ((1, 5.004), (1, 5.0041)))], 0.0)
    assert kept.waiting()[0].picks == ((1, 5.0), (1, 5.0))
    depot = (LAYOUT.config.depot, 0.0)
    with pytest.raises(InputError, match="all of it is at the depot"):
        kept.take([Wanted("none", (depot, (depot[0], 0.001)))], 0.0)
    assert len(kept.waiting()) == 1
    kept.take([Wanted("some", (depot, (1, 5.0)))], 0.0)
    assert len(kept.waiting()) == 2
