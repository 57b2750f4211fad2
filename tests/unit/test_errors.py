"""One tree of errors, drawn as it is."""

from __future__ import annotations

import inspect
import re

import pytest

from hotloop import errors
from hotloop.errors import AccessError, CorruptError, HotloopError, OverloadError, RequestError

CLASSES = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and kind.__module__ == errors.__name__
}


def drawn():
    """The tree of the docstring: each error with the one it hangs on."""
    parents, stack = {}, ["HotloopError"]
    for line in errors.__doc__.splitlines():
        found = re.match(r"\s{4}([│ ]*)[├└]── (\w+)", line)
        if found:
            depth = len(found.group(1)) // 4 + 1
            del stack[depth:]
            parents[found.group(2)] = stack[-1]
            stack.append(found.group(2))
    return parents


def test_the_tree_is_drawn_as_it_is():
    """Each class stands in the docstring's tree, under its own base, and nothing else does."""
    assert drawn() == {name: kind.__base__.__name__ for name, kind in CLASSES.items() if kind is not HotloopError}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_error_says_what_it_means(name):
    """An error's docstring is a sentence in the user's words."""
    assert CLASSES[name].__doc__.endswith((".", "message."))
    assert issubclass(CLASSES[name], HotloopError)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_error_is_its_message(name):
    """It can be made of the message alone, as the way over HTTP does, and shows it."""
    assert str(CLASSES[name]("what, where, what to do")) == "what, where, what to do"


def test_what_errors_carry_besides():
    """Status, permission, offsets and pause have sensible defaults and are kept."""
    assert RequestError("x").status == 422
    assert RequestError("x", status=413).status == 413
    assert AccessError("x").known is False
    assert AccessError("x", known=True).known is True
    assert CorruptError("x").offsets == ()
    assert CorruptError("x", offsets=(3, 4)).offsets == (3, 4)
    assert OverloadError("x").retry_after_s == 1.0
    assert OverloadError("x", retry_after_s=2.5).retry_after_s == 2.5
