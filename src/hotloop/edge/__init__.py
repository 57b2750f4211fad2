"""The line's side of hotloop: sense, predict, answer, spool, and take releases only when they are true and do well.

Nothing in here needs torch, a lake or a hub's packages: `pip install hotloop[edge]`.
"""
