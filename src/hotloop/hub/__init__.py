"""hub: the loop as a server. One route table; the only package that is async."""

from hotloop.hub.app import HubApp
from hotloop.hub.auth import Credential, Keyring
from hotloop.hub.routes import ROUTES
from hotloop.hub.server import running, serve
from hotloop.hub.table import Route

__all__ = ["ROUTES", "Credential", "HubApp", "Keyring", "Route", "running", "serve"]
