"""Predictions for what stands beside the line (a camera's computer, a PLC): HTTP on this device alone.

    POST /predict      the payload's bytes; answers the prediction as JSON at once
    POST /feedback     a verdict, as `POST /v1/feedback` of the hub takes it
    GET  /healthz      version, spool, what was dropped or refused, why the hub takes nothing if it does not, and how
                       the camera and the broker are

Loopback only: whoever may run programs on this device may use it, nobody else can reach it.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import msgspec

from hotloop.adapters.camera import CameraState
from hotloop.adapters.loopback import LoopbackHandler, LoopbackServer
from hotloop.adapters.mqtt_line import MqttState
from hotloop.agent import Agent
from hotloop.config import LoopConfig
from hotloop.edge.verdicts import VERDICT_BYTES_MAX, checked_verdict
from hotloop.errors import HotloopError, InputError
from hotloop.types import Payload


class Beside(msgspec.Struct, frozen=True):
    """How the camera and the broker are; None where there is none."""

    camera: CameraState | None = None
    mqtt: MqttState | None = None


class Health(msgspec.Struct, frozen=True):
    """What `GET /healthz` says."""

    line: str
    version: int
    waiting_events: int
    waiting_payloads: int
    spool_bytes: int
    dropped: dict[str, int]
    refused: list[str]
    trouble: str
    camera: CameraState | None
    mqtt: MqttState | None


class LocalHttp(LoopbackServer):
    """The server, in threads of its own."""

    def __init__(self, agent: Agent, config: LoopConfig, beside: Callable[[], Beside] = Beside) -> None:
        """`beside` says how the camera and the broker are. PortInUseError. [edge] port 0: a free one."""
        own = {"agent": agent, "config": config, "beside": staticmethod(beside)}
        super().__init__(config.edge.port, _Handler, own, "[edge] port")


class _Handler(LoopbackHandler):
    agent: Agent
    config: LoopConfig
    beside: Callable[[], Beside]

    def get(self) -> None:
        """Health."""
        if self.path != "/healthz":
            self.turn_away(HTTPStatus.NOT_FOUND, "there are POST /predict, POST /feedback and GET /healthz")
            return
        try:
            state, beside = self.agent.state(), self.beside()
        except HotloopError as error:
            self.fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            return
        self.answer(
            Health(
                self.agent.place.line,
                self.agent.predictor.version,
                state.events,
                state.payloads,
                state.size_bytes,
                state.dropped,
                list(self.agent.refused),
                self.agent.trouble,
                beside.camera,
                beside.mqtt,
            )
        )

    def post(self) -> None:
        """A payload, or a verdict."""
        limits = {"/predict": self.config.edge.payload_bytes_max, "/feedback": VERDICT_BYTES_MAX}
        if self.path not in limits:
            self.turn_away(HTTPStatus.NOT_FOUND, "there are POST /predict, POST /feedback and GET /healthz")
            return
        body = self.body(limits[self.path])
        if body is None:
            return
        try:
            if self.path == "/predict":
                kind = self.headers.get("content-type", "application/octet-stream")
                said = self.agent.sense(Payload(body, kind))
                self.answer({"prediction": said.id, "version": said.version, "outputs": said.outputs})
            else:
                self.agent.say(checked_verdict(body, self.agent, self.config.trust.golden))
                self.answer({"taken": True})
        except InputError as error:
            self.fail(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except HotloopError as error:
            self.fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
