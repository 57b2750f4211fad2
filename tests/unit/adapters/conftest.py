"""Somebody else at the broker."""

from __future__ import annotations

import json
import threading
from collections import defaultdict

import paho.mqtt.client as mqtt
import pytest


class Station:
    """Hears all that is said at a broker, and says what a test tells it to."""

    def __init__(self, port):
        self.heard, self.changed = defaultdict(list), threading.Condition()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self._came
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.reconnect_delay_set(0.05, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(5)

    def _came(self, _client, _data, said):
        with self.changed:
            self.heard[said.topic].append(bytes(said.payload))
            self.changed.notify_all()

    def say(self, topic, data, **more):
        """Publish, and wait until the broker has it."""
        self.client.publish(topic, data, qos=1, **more).wait_for_publish(5)

    def keep(self, topic, data):
        """Publish for whoever comes later, too."""
        self.say(topic, data, retain=True)

    def until(self, topic, count=1, limit_s=5.0):
        """What was heard on a topic, once it is so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.heard[topic]) >= count, limit_s), dict(self.heard)
            return list(self.heard[topic])

    def json(self, topic, count=1):
        """The same, as JSON."""
        return [json.loads(data) for data in self.until(topic, count)]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def stations():
    """Makes stations, and sends them away."""
    made = []

    def make(broker):
        made.append(Station(broker.port))
        return made[-1]

    yield make
    for station in made:
        station.close()


@pytest.fixture
def station(broker, stations):
    return stations(broker)


@pytest.fixture
def hasty(monkeypatch):
    """Nobody waits a second to connect again."""
    monkeypatch.setattr("hotloop.adapters.mqtt.PAUSE_S", 0.05)
