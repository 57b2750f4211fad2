"""Domains, loaded by entry point (group `hotloop.verticals`). The core imports none of them."""
