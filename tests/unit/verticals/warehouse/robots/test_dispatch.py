"""Who gets what: free robots, orders that lie together, the loop's own tour; and what is not tried again at once."""

from __future__ import annotations

import threading

import pytest

from hotloop.agent import Agent, Place
from hotloop.config import EdgeConfig, LoopConfig
from hotloop.errors import ConfigError, HubUnreachableError, InputError
from hotloop.store.spool import MemorySpool
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Output
from hotloop.verticals import vectors
from hotloop.verticals.warehouse import vertical
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.robots import dispatch
from hotloop.verticals.warehouse.robots.control import Tour
from hotloop.verticals.warehouse.robots.desk import Desk, Wanted
from hotloop.verticals.warehouse.robots.dispatch import Dispatcher, legs_of, stopped
from hotloop.verticals.warehouse.robots.messages import Robot
from hotloop.verticals.warehouse.robots.mqtt import Floor
from hotloop.verticals.warehouse.robots.route import route, routes
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

CONFIG = LoopConfig(vertical="warehouse", tables={"warehouse": {"layout": {"aisles": 4}}})
LAYOUT = Layout(LayoutConfig(aisles=4))
R0, R1 = Robot("sim", "r0"), Robot("sim", "r1")
DEPOT = (0, 0.0)


class Away:
    """A hub that is not there."""

    def send(self, *_):
        raise HubUnreachableError("away")

    put_blobs = follow = acknowledge = get_blob = send


class Fleet:
    """Robots that take whatever they are given."""

    def __init__(self, *free, busy=None):
        self.free, self.busy, self.sent, self.refuses = list(free), busy or {}, [], None

    def floor(self):
        return Floor(tuple(self.free), self.busy)

    def beside(self, look):
        return look()

    def send(self, robot, prediction, way, also=None):
        if self.refuses:
            raise self.refuses
        self.sent.append((robot, prediction, way, also and also()))
        self.free = [(name, place) for name, place in self.free if name != robot]


class Shop:
    """A dispatcher, with its agent, its desk and such robots."""

    def __init__(self, *free, **settings):
        config = RobotsConfig(**{"capacity": 4, **settings})
        clock = SimulatedClock()
        self.agent = Agent(Place("s", "floor"), vertical(CONFIG), Away(), clock, MemorySpool(EdgeConfig(), clock))
        self.fleet, self.desk = Fleet(*free), Desk(config, LAYOUT)
        self.dispatcher = Dispatcher(config, self.agent, self.fleet, self.desk)

    def order(self, *picks, name="a"):
        self.desk.take([Wanted(name, picks)], 0.0)

    def end(self, robot, status, prediction="t:1"):
        return self.dispatcher.ended(Tour(prediction, route(LAYOUT, [(0, 1.0)]), robot, status=status))


def test_a_free_robot_gets_the_orders_that_lie_together():
    """By the loop's own answer, which is in the spool; it stops at each pick, and its orders wait no more."""
    shop = Shop((R0, DEPOT))
    shop.order((1, 5.0), (1, 6.0), name="near")
    shop.order((3, 29.0), name="far")
    shop.order((1, 7.0), name="beside")
    assert (shop.dispatcher.step(), shop.dispatcher.step()) == (True, False)
    ((robot, prediction, way, changes),) = shop.fleet.sent
    assert (robot, set(changes)) == (R0, {"order/near", "order/beside", "order/far"})
    assert [shop.desk.show(name).tour for name in ("near", "beside")] == [prediction] * 2
    stops = {way.node_id(node) for node, actions in way.work.items() for _ in actions}
    assert {"a2-5.00", "a2-6.00", "a2-7.00"} <= stops
    assert (way.places[0], way.places[-1]) == (DEPOT, DEPOT)
    shop.agent.settle()
    assert [item.of for item in shop.agent._spool.waiting("events", 9)] == [prediction]


def test_no_more_picks_on_a_tour_than_fit():
    """The rest waits for the next robot; an order that is larger by itself goes alone."""
    shop = Shop((R0, DEPOT), (R1, DEPOT), capacity=2)
    shop.order((1, 5.0), (1, 6.0), (1, 7.0), name="large")
    shop.order((1, 5.0), name="small")
    shop.order((2, 5.0), name="other")
    assert [shop.dispatcher.step() for _ in range(3)] == [True, True, False]
    assert [set(one[3]) for one in shop.fleet.sent] == [{"order/large"}, {"order/small", "order/other"}]


def test_without_orders_or_without_robots_nothing_is_asked():
    """No prediction is made for nobody."""
    shop = Shop((R0, DEPOT))
    assert not shop.dispatcher.step()
    shop.fleet.free = []
    shop.order((1, 5.0))
    assert not shop.dispatcher.step()
    shop.agent.settle()
    assert shop.agent._spool.waiting("events", 9) == []


def test_a_robot_that_stands_elsewhere_gets_a_tour_from_there():
    """By all picks, and back to the depot."""
    shop = Shop((R0, (2, 12.5)))
    shop.order((1, 5.0))
    assert shop.dispatcher.step()
    ((robot, _, way, _),) = shop.fleet.sent
    assert robot == R0
    assert (way.places[0], way.places[-1]) == ((2, 12.5), DEPOT)
    assert (1, 5.0) in way.places
    assert list(way.work) != []
    assert shop.desk.show("a").status != "waiting"


def test_where_legs_can_be_read_in_more_than_one_way_the_robot_goes_home_first(monkeypatch):
    """It teaches nothing, and the orders wait for the next tour."""
    monkeypatch.setattr(dispatch, "stopped", unreadable)
    shop = Shop((R0, (2, 12.5)))
    shop.order((1, 5.0))
    assert shop.dispatcher.step()
    ((robot, name, way, changes),) = shop.fleet.sent
    assert (robot, name.startswith("home:r0:"), changes) == (R0, True, None)
    assert (way.places[0], way.places[-1], way.work) == ((2, 12.5), DEPOT, {})
    assert shop.desk.show("a").status == "waiting"


def unreadable(*_):
    """As for a tour that cannot be driven by all picks."""
    raise InputError("the tour does not come by a7-8.40")


def test_a_robot_that_cannot_be_given_a_tour_keeps_no_other_from_it(monkeypatch):
    """The first one rests, the second one gets the orders; where nobody can, it is said."""
    real, asked = dispatch.stopped, []

    def fails_once(*given):
        asked.append(1)
        return unreadable() if len(asked) == 1 else real(*given)

    monkeypatch.setattr(dispatch, "stopped", fails_once)
    shop = Shop((R0, DEPOT), (R1, DEPOT))
    shop.order((1, 5.0))
    assert shop.dispatcher.step()
    assert [sent[0] for sent in shop.fleet.sent] == [R1]
    monkeypatch.setattr(dispatch, "stopped", unreadable)
    alone = Shop((R0, DEPOT))
    alone.order((1, 5.0))
    with pytest.raises(InputError, match=r"a7-8\.40"):
        alone.dispatcher.step()
    assert not alone.dispatcher.step()


def test_a_robot_whose_tour_did_not_end_well_rests_ever_longer(monkeypatch):
    """Others get the orders meanwhile; one that ends well is as if nothing had been."""
    now = [100.0]
    monkeypatch.setattr(dispatch.time, "monotonic", lambda: now[0])
    shop = Shop((R0, DEPOT), again_s=5.0)
    shop.order((1, 5.0))
    rests = []
    for _ in range(6):
        shop.end(R0, "refused")
        rests.append(shop.dispatcher._rests[R0].until_s - now[0])
    assert rests == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert not shop.dispatcher.step()
    shop.fleet.free.append((R1, DEPOT))
    assert shop.dispatcher.step()
    assert shop.fleet.sent[0][0] == R1
    shop.order((1, 6.0), name="b")
    now[0] += 60.0
    assert shop.dispatcher.step()
    shop.end(R0, "finished")
    assert shop.dispatcher._rests[R0].until_s == 0.0


def test_what_cannot_be_given_is_said_and_nothing_is_lost(monkeypatch):
    """The order waits on; it is said what is wrong until a tour is given again, after a rest."""
    now = [100.0]
    monkeypatch.setattr(dispatch.time, "monotonic", lambda: now[0])
    shop, stop = Shop((R0, DEPOT), again_s=5.0), threading.Event()
    shop.order((1, 5.0))
    shop.fleet.refuses = InputError("it has one")
    waits = iter([False, False, True])
    stop.wait = lambda _: next(waits)
    shop.dispatcher.run(stop)
    assert (shop.dispatcher.trouble, shop.desk.show("a").status) == ("it has one", "waiting")
    shop.fleet.refuses = None
    assert not shop.dispatcher.step(), "it rests"
    assert shop.dispatcher.trouble == "it has one"
    now[0] += 5.1
    waits = iter([False, True])
    shop.dispatcher.run(stop)
    assert (shop.dispatcher.trouble, shop.desk.show("a").status) == ("", "on tour")


def test_robots_need_a_warehouse():
    """A loop of anything else is told so."""
    other = LoopConfig(vertical="vectors", tables={"vectors": {"labels": ["a", "b"]}})
    clock = SimulatedClock()
    agent = Agent(Place("s", "floor"), vectors.vertical(other), Away(), clock)
    with pytest.raises(ConfigError, match='vertical = "warehouse"'):
        Dispatcher(RobotsConfig(), agent, Fleet(), Desk(RobotsConfig(), LAYOUT))


def test_of_two_ways_to_turn_the_one_that_comes_by_the_picks_is_meant():
    """From the middle of a stretch both may join."""
    both = routes(LAYOUT, [(4, 0.2), (4, 0.2)], (1, 15.0))
    assert [tour.places[1] for tour in both] == [(1, 17.0), (1, 13.0)]
    assert stopped(both, [(1, 13.0)])[0].places[1] == (1, 13.0)
    with pytest.raises(InputError, match=r"does not come by a2-12\.00"):
        stopped(both, [(1, 12.0)])


def test_legs_are_the_regions_of_an_answer():
    """A stretch, and the share of it."""
    assert legs_of([Output("slow", 1.0, (3.0, 0.25, 9.0, 1.0)), Output("slow", 1.0)]) == [(3, 0.25)]
