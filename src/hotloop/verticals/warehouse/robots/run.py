"""`hotloop robots`: master control as a process of its own. It is a line of the hub: it answers by itself, with or
without the hub, spools on its disk, and follows releases; and it has the robots at the broker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final

from hotloop.config import LoopConfig, own_table
from hotloop.edge.run import Line, Post, Stand, opened_line, reporting
from hotloop.errors import ConfigError
from hotloop.store.records import DiskRecords
from hotloop.types import Feedback
from hotloop.verticals.warehouse.layout import Layout
from hotloop.verticals.warehouse.robots.desk import Desk
from hotloop.verticals.warehouse.robots.dispatch import Dispatcher
from hotloop.verticals.warehouse.robots.local_http import RobotsHealth, RobotsHttp
from hotloop.verticals.warehouse.robots.mqtt import RobotFleet
from hotloop.verticals.warehouse.task import WarehouseConfig

_RECORDS: Final = "robots.sqlite"  # in the folder of --state


def run(config: LoopConfig, post: Post, stop: threading.Event, said: Callable[[str], None]) -> None:
    """Give tours until `stop`. `said` is told once orders are taken. ConfigError."""
    if config.vertical != "warehouse":
        raise ConfigError(f'robots need a warehouse, and this loop has vertical = "{config.vertical}"')
    if not config.mqtt.url:
        raise ConfigError("robots meet at a broker: set [mqtt] url, such as mqtt://127.0.0.1:1883")
    own = own_table(config, "warehouse", WarehouseConfig)
    layout = Layout(own.layout)
    with ExitStack() as stack:
        line = opened_line(config, post, stop, stack, broker=False)
        agent = line.agent

        def taught(feedback: Feedback) -> None:
            agent.say(agent.in_its_name(feedback))

        records = stack.enter_context(closing(DiskRecords(post.folder / _RECORDS)))
        fleet = RobotFleet(own.robots, config.mqtt, layout, taught, records=records)
        desk = Desk(own.robots, layout)
        fleet.change(lambda: (None, desk.begin(records.read(), fleet.tours())))
        dispatcher = Dispatcher(own.robots, agent, fleet, desk)
        agent.start()
        stack.callback(agent.close, 2.0)
        fleet.start()
        stack.callback(fleet.close)
        server = RobotsHttp(own.robots, fleet, desk, lambda: _health(line, fleet, desk, dispatcher))
        stack.callback(server.close)
        giving = threading.Thread(target=dispatcher.run, args=(stop,), name="hotloop-dispatch", daemon=True)
        giving.start()
        stack.callback(giving.join, 2.0)
        reporting(lambda: line.report(Stand()), config.edge.report_s, stop)
        said(f"robots of {post.line} at the broker {config.mqtt.url}: orders by POST {server.url}/orders")
        stop.wait()


def _health(line: Line, fleet: RobotFleet, desk: Desk, dispatcher: Dispatcher) -> RobotsHealth:
    """How all of it is."""
    agent, state = line.agent, line.agent.state()
    trouble = (dispatcher.trouble, agent.trouble)
    return RobotsHealth(
        agent.place.line, agent.predictor.version, fleet.beside(desk.counts), fleet.state(), state.events,
        state.dropped, tuple(words for words in trouble if words),
    )  # fmt: skip
