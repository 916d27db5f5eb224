"""The tree of calls that sampled stacks form.

::

    <module> ─┬─ load ── read            a node for each chain of calls, however often it was seen
              └─ train ─┬─ step          a recursive function once in a row
                        └─ step ── loss

Its size is bounded by the number of different chains and not by the length of the run: stacks
deeper than `DEEPEST` lose their middle, and once there are `MOST` nodes, of a new chain only the
last function is kept.
"""

from __future__ import annotations

import opcode
import runpy
import threading
from collections.abc import Iterator
from itertools import groupby
from operator import is_
from pathlib import Path
from types import CodeType, FrameType

DEEPEST = 200
MOST = 50_000
_RESUME = opcode.opmap["RESUME"]
_OWN = str(Path(__file__).parent)
_STARTERS = (runpy.run_path.__code__.co_filename, threading.__file__, _OWN)
"""Files whose functions start a program or a thread; left out at the bottom of a stack."""


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
        below: the function that starts the program, which is left out of its stacks with all of its
            callers; None if the stacks are whole.
    """

    def __init__(self, channels: int, below: CodeType | None = None) -> None:
        self.root = Node(None, None, channels)
        self._channels = channels
        self._below = below
        self._nodes = 1
        self._last: tuple[list[CodeType], Node] = ([], self.root)

    def at(self, frame: FrameType | None, *, of_main: bool = False) -> Node:
        """The node of a stack; the root for one that is not of the program.

        Args:
            frame: the innermost one; None for a thread without a stack.
            of_main: whether it belongs to the thread in which the program was started.
        """
        # The program waits meanwhile.
        while frame is not None and frame.f_code.co_filename.startswith(_OWN):
            frame = frame.f_back
        if frame is not None and _has_just_begun(frame):
            # The interpreter lets other threads in at the beginning of a function. What has passed
            # since the last sample was spent in its caller, as in a long operation.
            frame = frame.f_back
        codes: list[CodeType] = []
        below = self._below
        while frame is not None and (code := frame.f_code) is not below:
            codes.append(code)
            frame = frame.f_back
        if frame is None and of_main and below is not None:
            return self.root
        while len(codes) > 1 and codes[-1].co_filename.startswith(_STARTERS):
            codes.pop()
        known, node = self._last
        # In a long loop it is the same as the last one.
        if len(known) != len(codes) or not all(map(is_, known, codes)):
            node = self._node(codes)
            self._last = codes, node
        return node

    def _node(self, codes: list[CodeType]) -> Node:
        node = self.root
        for code in reversed(codes):
            child = node.children.get(id(code))
            if child is None:
                if code is node.code:
                    continue
                if len(codes) > DEEPEST or self._nodes >= MOST:
                    return self._new(codes)
                child = self._grown(node, code)
            node = child
        return node

    def _new(self, codes: list[CodeType]) -> Node:
        """The node of a stack that is deep, or when there are many nodes."""
        codes = [code for code, _ in groupby(codes)]
        if self._nodes >= MOST:
            # There are at most as many as functions.
            del codes[1:]
        elif len(codes) > DEEPEST:
            del codes[DEEPEST // 2 : -DEEPEST // 2]
        node = self.root
        for code in reversed(codes):
            node = node.children.get(id(code)) or self._grown(node, code)
        return node

    def _grown(self, node: Node, code: CodeType) -> Node:
        self._nodes += 1
        # The node keeps the code alive, so that its identity is not used again.
        child = node.children[id(code)] = Node(code, node, self._channels)
        return child


def _has_just_begun(frame: FrameType) -> bool:
    at = frame.f_lasti
    return at >= 0 and frame.f_code.co_code[at] == _RESUME and frame.f_back is not None
