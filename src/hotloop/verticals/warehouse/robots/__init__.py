"""Robots that speak VDA 5050 2.x: a tour becomes an order, what they say of it becomes the measured times of its legs.

`messages`: bytes in, a record or a named error out. `route`: legs become nodes and edges, base and horizon. `passages`:
states become the seconds of each leg, once each, whatever is lost, doubled or late. `control`: which robot has which
order, and what to say next, without a socket or a clock. `mqtt`: the same at a broker.
"""
