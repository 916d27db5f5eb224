"""The tree of calls that sampled stacks form.

::

    <module> ─┬─ load ── read            a node for each chain of calls, however often it was seen
              └─ train ─┬─ step          a recursive function once in a row
                        └─ step ── loss

Its size is bounded by the number of different chains and not by the length of the run: stacks deeper
than `DEEPEST` lose their middle, and once there are `MOST` nodes, new chains keep only their ends.
"""

from __future__ import annotations

import opcode
import runpy
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from types import CodeType, FrameType

DEEPEST = 200
MOST = 50_000
_RESUME = opcode.opmap["RESUME"]
_STARTERS = frozenset({runpy.run_path.__code__.co_filename, threading.__file__})
"""Files whose functions start a program or a thread; left out at the bottom of a stack."""
_OWN = str(Path(__file__).parent)
"""The profiler's own functions at the top of a stack are left out, too."""


class Node:
    """A function at the end of a chain of calls.

    Args:
        code: of the function; None for the root.
        parent: the function that called it; None for the root.
        channels: number of channels whose energy is divided.

    Attributes:
        children: the functions that it called, by the identity of their code.
        energy_j: energy in the function itself, of each channel.
        time_s: time for which it was seen to run, or to wait.
    """

    __slots__ = ("children", "code", "energy_j", "parent", "time_s")

    def __init__(self, code: CodeType | None, parent: Node | None, channels: int) -> None:
        self.code = code
        self.parent = parent
        self.children: dict[int, Node] = {}
        self.energy_j = [0.0] * channels
        self.time_s = 0.0

    def walk(self) -> Iterator[Node]:
        """This node and all below it, each after its parent."""
        rest = [self]
        while rest:
            node = rest.pop()
            yield node
            rest += node.children.values()


class CallTree:
    """The chains of calls seen so far.

    Args:
        channels: number of channels whose energy is divided.
        below: code of functions below the program, which are left out with their callers.
    """

    def __init__(self, channels: int, below: Collection[CodeType] = ()) -> None:
        self.root = Node(None, None, channels)
        self._channels = channels
        self._below = frozenset(map(id, below))
        self._nodes = 1

    def at(self, frame: FrameType | None, *, of_main: bool = False) -> Node:
        """The node of a stack; the root for one that is not of the program.

        Args:
            frame: the innermost one; None for a thread without a stack.
            of_main: whether it begins below the program, if that is known.
        """
        codes: list[CodeType] = []
        while frame is not None and frame.f_code.co_filename.startswith(_OWN):
            frame = frame.f_back
        if frame is not None and _has_just_begun(frame):
            # The interpreter lets other threads in at the beginning of a function. What has passed
            # since the last sample was spent in its caller, as in a long operation.
            frame = frame.f_back
        last = None
        outside = of_main and bool(self._below)
        while frame is not None:
            code = frame.f_code
            if id(code) in self._below:
                outside = False
                break
            if code is not last:
                codes.append(code)
                last = code
            frame = frame.f_back
        if outside:
            return self.root
        while len(codes) > 1 and codes[-1].co_filename in _STARTERS:
            codes.pop()
        if len(codes) > DEEPEST:
            del codes[DEEPEST // 2 : -DEEPEST // 2]
        node = self.root
        for code in reversed(codes):
            child = node.children.get(id(code))
            if child is None:
                if self._nodes >= MOST:
                    return self._short(codes)
                child = self._grown(node, code)
            node = child
        return node

    def _grown(self, node: Node, code: CodeType) -> Node:
        self._nodes += 1
        # The node keeps the code alive, so that its identity is not used again.
        child = node.children[id(code)] = Node(code, node, self._channels)
        return child

    def _short(self, codes: list[CodeType]) -> Node:
        """The node of the innermost function alone: there are at most as many as functions."""
        code = codes[0]
        return self.root.children.get(id(code)) or self._grown(self.root, code)


def _has_just_begun(frame: FrameType) -> bool:
    at = frame.f_lasti
    return at >= 0 and frame.f_code.co_code[at] == _RESUME and frame.f_back is not None
