"""Reads a pickle of plain data by following its opcodes; never unpickles, imports or calls what it names."""

from __future__ import annotations

import pickletools
from pathlib import Path
from typing import Any

from harness.errors import CheckpointError, problem

MOST_BYTES = 1 << 16
"""Largest file that is read; published hyper-parameters have 296 bytes."""

_MARK, _DEVICE = object(), object()


def read_plain_pickle(path: Path) -> dict[str, Any]:
    """Return the dict that a pickle describes: numbers, text, None, tuples, lists and dicts.

    The one object allowed is a ``torch.device``, which becomes its name.

    Raises:
        CheckpointError: it is no such dict, or names any other object; the message says which.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        said = _follow(path.read_bytes(), str(path))
    except (OSError, ValueError, IndexError, TypeError) as error:
        words = str(error) or type(error).__name__
        raise CheckpointError(
            problem(str(path), "a pickled dict of plain values", words, "Delete it, or fetch it again")
        ) from error
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise CheckpointError(
            problem(str(path), "a dict with text as keys", type(said).__name__, "Delete it, or fetch it again")
        )
    return said


def _follow(data: bytes, what: str) -> Any:
    """Return what a pickle describes.

    Only text and the device are fetched again from the memo, so that a small file can describe neither a cycle nor a
    value that grows exponentially.

    Raises:
        CheckpointError: an object or an opcode that plain data does not need.
        ValueError, IndexError, TypeError: no well-formed pickle.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(data):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "SHORT_BINUNICODE" | "BINUNICODE":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[opcode.name])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(_pop(stack, int(opcode.name[-1]))))
            case "MARK":
                stack.append(_MARK)
            case "TUPLE":
                stack.append(tuple(_pop_marked(stack)))
            case "APPEND" | "APPENDS":
                items = _pop(stack, 1) if opcode.name == "APPEND" else _pop_marked(stack)
                _expect(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = _pop(stack, 2) if opcode.name == "SETITEM" else _pop_marked(stack)
                _expect(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))
            case "MEMOIZE" | "BINPUT" | "LONG_BINPUT":
                memo[len(memo) if opcode.name == "MEMOIZE" else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                again = memo.get(argument)
                stack.append(again if again is _DEVICE else _expect(again, str))
            case "STACK_GLOBAL" | "GLOBAL":
                words = _pop(stack, 2) if opcode.name == "STACK_GLOBAL" else str(argument).split(" ")
                if words != ["torch", "device"]:
                    raise _refused(what, ".".join(map(str, words)))
                stack.append(_DEVICE)
            case "REDUCE":
                (arguments,) = _pop(stack, 1)
                if stack.pop() is not _DEVICE:
                    raise _refused(what, "a call of another object")
                stack.append(":".join(map(str, _expect(arguments, tuple))))
            case "STOP":
                (said,) = _pop(stack, len(stack))
                return said
            case other:
                raise _refused(what, f"opcode {other}")
    raise ValueError("its end is missing")


def _pop(stack: list[Any], count: int) -> list[Any]:
    """Take ``count`` values off the stack, in the order in which they were put."""
    return _plain([stack.pop() for _ in range(count)])


def _pop_marked(stack: list[Any]) -> list[Any]:
    """Take the values above the last mark off the stack, and the mark."""
    values = []
    while (value := stack.pop()) is not _MARK:
        values.append(value)
    return _plain(values)


def _plain(popped: list[Any]) -> list[Any]:
    if any(value is _MARK or value is _DEVICE for value in popped):
        raise ValueError("a mark or an object where a value belongs")
    return popped[::-1]


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _refused(what: str, got: str) -> CheckpointError:
    return CheckpointError(problem(what, "plain values and torch.device", got, "Do not trust this file; delete it"))
