"""A robot of VDA 5050 2.1 that is not there: it takes orders as the specification says, and says what it does. Pure.

It is written against the specification and on plain JSON, not on hotloop's own messages: what one side gets wrong the
other does not repeat. Time is what it is told; the state about an event carries the event's own time. `gone` is the
truth about each leg that it went along.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
Pace = Callable[[Json, float], float]
"""(edge, now) -> how long it takes, s"""
_WORK_S = 4.0


class SimulatedRobot:
    """One robot. `said` holds what it has said (topic's last part, message) and nobody has taken."""

    def __init__(self, manufacturer: str, serial: str, pace: Pace, at: str = "a1-0.00") -> None:
        self.manufacturer, self.serial, self.pace = manufacturer, serial, pace
        self.version = "2.1.0"
        self.said: list[tuple[str, Json]] = []
        self.gone: list[tuple[str, int, float, float]] = []  # order, leg, began, ended
        self.refused = 0
        self.worked: list[str] = []  # the actions that it did on its way
        self._numbers = {"state": 0, "connection": 0}
        self._forget(at)

    def _forget(self, at: str) -> None:
        self.order, self.update = "", 0
        self.last, self.last_sequence = at, 0
        self.nodes: list[Json] = []  # to come, the horizon included
        self.edges: list[Json] = []
        self.actions: dict[str, Json] = {}
        self.errors: list[Json] = []
        self.paused = self.driving = False
        self._base_end: tuple[str, int] = (at, 0)
        self._work: list[Json] = []  # at the node where it is
        self._next: tuple[float, Callable[[float], None]] | None = None
        self._left_s = 0.0

    # what it hears

    def hear(self, what: str, message: Json, now: float) -> None:
        """An order, or instant actions."""
        if what == "order":
            self._take_order(message, now)
        else:
            for action in message["actions"]:
                self._act(action, now)
        self._say_state(now)

    def _take_order(self, message: Json, now: float) -> None:
        first = (message["nodes"][0]["nodeId"], message["nodes"][0]["sequenceId"])
        if message["orderId"] == self.order:
            if message["orderUpdateId"] == self.update:
                return
            if message["orderUpdateId"] < self.update or first != self._base_end:
                self._refuse("orderUpdateError", message)
                return
            self.nodes = [node for node in self.nodes if node["released"]]
            self.edges = [edge for edge in self.edges if edge["released"]]
        elif self.nodes or self._work:
            self._refuse("orderError", message)
            return
        elif first[0] != self.last:
            self._refuse("noRouteError", message)
            return
        else:
            self.last_sequence, self.actions, self.edges = first[1], {}, []
            self._work = list(message["nodes"][0]["actions"])
        self.errors = []
        self.order, self.update = message["orderId"], message["orderUpdateId"]
        self.nodes += message["nodes"][1:]
        self.edges += message["edges"]
        released = [node for node in message["nodes"] if node["released"]][-1]
        self._base_end = (released["nodeId"], released["sequenceId"])
        for node in message["nodes"]:
            self.actions |= {one["actionId"]: {**one, "status": "WAITING"} for one in node["actions"]
                             if one["actionId"] not in self.actions}  # fmt: skip
        if self._next is None and not self.paused:
            self._go_on(now)

    def _refuse(self, kind: str, message: Json) -> None:
        self.refused += 1
        about = [{"referenceKey": key, "referenceValue": str(message[key])} for key in ("orderId", "orderUpdateId")]
        self.errors.append({"errorType": kind, "errorLevel": "WARNING", "errorDescription": "not taken",
                            "errorReferences": about})  # fmt: skip

    def _act(self, action: Json, now: float) -> None:
        kind, ended = action["actionType"], "FINISHED"
        if kind == "cancelOrder" and not (self.nodes or self._work):
            ended = "FAILED"
            self.errors.append({"errorType": "noOrderToCancel", "errorLevel": "WARNING"})
        elif kind == "cancelOrder":
            self.nodes, self.edges, self._work, self._next, self.driving = [], [], [], None, False
            for one in self.actions.values():
                one["status"] = one["status"] if one["status"] == "FINISHED" else "FAILED"
        elif kind == "startPause" and not self.paused:
            self._left_s = self._next[0] - now if self._next else 0.0
            self.paused, self.driving = True, False
        elif kind == "stopPause" and self.paused:
            self.paused = False
            if self._next:
                self._next = (now + self._left_s, self._next[1])
            else:
                self._go_on(now)
        self.actions[action["actionId"]] = {**action, "status": ended}

    # what it does

    @property
    def due(self) -> float | None:
        """When something happens next."""
        return self._next[0] if self._next and not self.paused else None

    def advance(self, now: float) -> None:
        """Let happen what is due."""
        while (at := self.due) is not None and at <= now and self._next is not None:
            then, self._next = self._next[1], None
            then(at)

    def _go_on(self, now: float) -> None:
        """At a node: work first, then the next edge, if it is released."""
        if self._work:
            self.actions[self._work[0]["actionId"]]["status"] = "RUNNING"
            self._next = (now + _WORK_S, self._worked)
        elif self.edges and self.edges[0]["released"]:
            self.driving = True
            began = now
            self._next = (now + self.pace(self.edges[0], now), lambda at: self._arrived(began, at))

    def _worked(self, now: float) -> None:
        self.worked.append(self._work.pop(0)["actionId"])
        self.actions[self.worked[-1]]["status"] = "FINISHED"
        self._go_on(now)
        self._say_state(now)

    def _arrived(self, began: float, now: float) -> None:
        edge, node = self.edges.pop(0), self.nodes.pop(0)
        self.gone.append((self.order, edge["sequenceId"] // 2, began, now))
        self.last, self.last_sequence, self.driving = node["nodeId"], node["sequenceId"], False
        self._work = list(node["actions"])
        self._go_on(now)
        self._say_state(now)

    def restart(self, now: float, *, keeps_order: bool) -> None:
        """Start anew: it counts from 0 again, and may have forgotten what it was to do."""
        self._numbers = {"state": 0, "connection": 0}
        if not keeps_order:
            self._forget(self.last)
        self.say_connection("ONLINE", now)
        self._say_state(now)

    # what it says

    def say_connection(self, word: str, now: float) -> Json:
        """ONLINE, OFFLINE or CONNECTIONBROKEN."""
        message = {**self._header("connection", now), "connectionState": word}
        self.said.append(("connection", message))
        return message

    def beat(self, now: float) -> None:
        """Say the state without a reason, as is due every 30 s."""
        self._say_state(now)

    def _header(self, what: str, now: float) -> Json:
        number = self._numbers[what]
        self._numbers[what] += 1
        moment = datetime.fromtimestamp(round(now, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"headerId": number, "timestamp": moment, "version": self.version,
                "manufacturer": self.manufacturer, "serialNumber": self.serial}  # fmt: skip

    def _say_state(self, now: float) -> None:
        ahead = [self._short(node, "nodeId") for node in self.nodes]
        state = {
            **self._header("state", now), "orderId": self.order, "orderUpdateId": self.update,
            "lastNodeId": self.last, "lastNodeSequenceId": self.last_sequence, "nodeStates": ahead,
            "edgeStates": [self._short(edge, "edgeId") for edge in self.edges], "driving": self.driving,
            "paused": self.paused, "actionStates": [
                {"actionId": name, "actionType": one["actionType"], "actionStatus": one["status"]}
                for name, one in self.actions.items()
            ],
            "batteryState": {"batteryCharge": 80.0, "charging": False}, "operatingMode": "AUTOMATIC",
            "errors": list(self.errors), "safetyState": {"eStop": "NONE", "fieldViolation": False},
        }  # fmt: skip
        self.said.append(("state", state))

    @staticmethod
    def _short(one: Json, name: str) -> Json:
        return {name: one[name], "sequenceId": one["sequenceId"], "released": one["released"]}

    def take(self) -> list[tuple[str, bytes]]:
        """What it has said since, as bytes."""
        said = [(what, json.dumps(message).encode()) for what, message in self.said]
        self.said.clear()
        return said
