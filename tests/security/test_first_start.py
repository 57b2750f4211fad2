"""TRUST 24: the first start, as a real process: no public address, no default secret, a credential for everything."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from hotloop.hub.routes import ROUTES
from hotloop.hub.table import ROLES

SETTINGS = """
vertical = "vectors"
[vectors]
labels = ["ok", "worn"]
columns = 2
[hub]
host = "{host}"
port = {port}
[store]
folder = "store"
"""


def hub_of(folder: Path, host: str = "127.0.0.1", port: int = 0) -> subprocess.Popen[str]:
    """`hotloop up` with these settings."""
    folder.mkdir(exist_ok=True)
    (folder / "loop.toml").write_text(SETTINGS.format(host=host, port=port))
    command = [sys.executable, "-c", "from hotloop.cli import main; main()", "up", str(folder / "loop.toml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@contextmanager
def up(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub that answers: its URL, and what it wrote when it is over."""
    written: list[str] = []
    with hub_of(folder) as process:
        try:
            while "http://" not in "".join(written):
                written.append(process.stdout.readline())
                assert written[-1], f"the hub ended: {''.join(written)}"
            yield "http://" + "".join(written).split("http://")[1].split()[0], written
        finally:
            process.terminate()
            written.append(process.communicate(timeout=20)[0])
    assert process.returncode == 0, "".join(written)


def test_a_public_address_is_refused(tmp_path: Path) -> None:
    """The process ends with an error that names TLS, and never listened."""
    with hub_of(tmp_path, "0.0.0.0") as process:
        text = process.communicate(timeout=30)[0]
    assert process.returncode != 0
    assert "TLS" in text
    assert "Traceback" not in text
    assert "is up at" not in text


def test_the_first_start_makes_its_own_secrets(tmp_path: Path) -> None:
    """Tokens are made, private to their owner, and not shown; without one there is no answer but /healthz."""
    with up(tmp_path / "one") as (url, written):
        path = tmp_path / "one" / "store" / "tokens.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        tokens = {c["role"]: c["token"] for c in msgspec.json.decode(path.read_bytes())["credentials"]}
        assert set(tokens) == set(ROLES)
        with httpx.Client(base_url=url, trust_env=False) as client:
            for route in ROUTES:
                status = client.request(route.method, route.path.replace("{", "").replace("}", "")).status_code
                assert status == (200 if route.path == "/healthz" else 401), route.path
            for guess in ("admin", "hotloop", "secret", "default", "token", "changeme", "a" * 43):
                assert client.get("/v1/status", headers={"authorization": f"Bearer {guess}"}).status_code == 401
            assert client.get("/v1/status", headers={"authorization": f"Bearer {tokens['admin']}"}).status_code == 200
    assert not any(token in "".join(written) for token in tokens.values())


def test_a_second_hub_on_the_port_says_so(tmp_path: Path) -> None:
    """Port in use: the process ends with an error that names the port and what to do."""
    with up(tmp_path / "one") as (url, _):
        port = int(url.rpartition(":")[2])
        with hub_of(tmp_path / "two", port=port) as second:
            text = second.communicate(timeout=30)[0]
    assert second.returncode != 0
    assert f"port {port}" in " ".join(text.split())
    assert "ss -ltnp" in " ".join(text.split())
    assert "Traceback" not in text
