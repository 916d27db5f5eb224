"""A small image classifier behind HTTP, batched by one of joulelab's policies.

python examples/serving/server.py --model shufflenet_v2_x0_5 --policy "greedy(32)"

POST /classify  an image  ->  {"class": 207, "batch": 4, "waited_s": 0.012}
GET  /health              ->  {"status": "ready", "waiting": 0, ...}

handlers ──append──> queue ──policy──> batch ──a thread: prepare, network──> answers
                       `─ full: 503
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import numpy as np
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from joulelab.errors import JoulelabError
from joulelab.serving.images import CHANNELS, UnreadableImageError, prepare
from joulelab.serving.policies import Policy, ask, parse_policy
from joulelab.serving.tasks import ModelSource

MOST_BYTES = 20_000_000


@dataclass
class Waiting:
    """An image that waits for its class: since when, and where the answer goes."""

    encoded: bytes
    since_s: float
    answer: asyncio.Future[dict[str, float]]


class Batcher:
    """The queue, and the loop that serves it in batches."""

    def __init__(self, model: torch.nn.Module, policy: Policy, crop: int, capacity: int) -> None:
        self.queue: deque[Waiting] = deque()
        self.capacity = capacity
        self._model = model
        self._policy = policy
        self._crop = crop
        self._arrived = asyncio.Event()

    async def classify(self, encoded: bytes) -> dict[str, float]:
        """Wait in the queue for an answer."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(encoded, loop.time(), loop.create_future())
        self.queue.append(waiting)
        self._arrived.set()
        return await waiting.answer

    async def serve(self) -> None:
        """Serve batch after batch, until cancelled."""
        while True:
            try:
                size = await self._next_size()
            except JoulelabError as error:  # a policy of one's own may be wrong
                self._fail_all(error)
                continue
            batch = [self.queue.popleft() for _ in range(size)]
            begun_s = asyncio.get_running_loop().time()
            try:
                classes = await asyncio.to_thread(self._infer, [one.encoded for one in batch])
            except Exception as error:  # the network's: every request of the batch is told
                classes = [error] * len(batch)
            for waiting, found in zip(batch, classes, strict=True):
                if waiting.answer.done():  # its client has gone
                    continue
                if isinstance(found, Exception):
                    waiting.answer.set_exception(found)
                    continue
                waited_s = begun_s - waiting.since_s
                waiting.answer.set_result(
                    {"class": found, "batch": len(batch), "waited_s": waited_s}
                )

    async def _next_size(self) -> int:
        """How many to serve next; asks the policy at each arrival and when its patience ends."""
        while True:
            patience_s = math.inf
            self._arrived.clear()
            if self.queue:
                waiting = len(self.queue)
                waited_s = asyncio.get_running_loop().time() - self.queue[0].since_s
                if size := ask(self._policy, waiting, waited_s):
                    return size
                patience_s = self._policy.patience_s(waiting, waited_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(patience_s) else patience_s):
                    await self._arrived.wait()

    def _fail_all(self, error: Exception) -> None:
        while self.queue:
            if not (answer := self.queue.popleft().answer).done():
                answer.set_exception(error)

    def _infer(self, images: list[bytes]) -> list[int | Exception]:
        """The class of each image, or why it has none; runs in a thread of its own."""
        found: list[int | Exception] = [0] * len(images)
        prepared = np.empty((len(images), CHANNELS, self._crop, self._crop), np.float32)
        readable = []
        for number, encoded in enumerate(images):
            try:
                prepare(encoded, round(self._crop * 256 / 224), self._crop, prepared[number])
                readable.append(number)
            except UnreadableImageError as error:
                found[number] = error
        if readable:
            with torch.inference_mode():
                scores = self._model(torch.from_numpy(prepared[readable]))  # (images, classes)
            for number, best in zip(readable, scores.argmax(1).tolist(), strict=True):
                found[number] = best
        return found


def application(model: torch.nn.Module, policy: Policy, crop: int, capacity: int) -> Starlette:
    """The endpoints around one batcher."""
    batcher = Batcher(model, policy, crop, capacity)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        serving = asyncio.create_task(batcher.serve())
        yield
        serving.cancel()

    async def classify(request: Request) -> JSONResponse:
        encoded = bytearray()
        async for chunk in request.stream():
            encoded += chunk
            if len(encoded) > MOST_BYTES:
                return JSONResponse({"error": f"above {MOST_BYTES} bytes"}, 413)
        if len(batcher.queue) >= batcher.capacity:
            return JSONResponse({"error": "the queue is full"}, 503)
        try:
            return JSONResponse(await batcher.classify(bytes(encoded)))
        except UnreadableImageError as error:
            return JSONResponse({"error": f"unreadable image: {error}"}, 400)
        except Exception as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 500)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse(
            {"status": "ready", "policy": str(policy), "waiting": len(batcher.queue)}
        )

    routes = [Route("/classify", classify, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    """Read the command line and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="shufflenet_v2_x0_5", help="torchvision name or module:factory"
    )
    parser.add_argument("--policy", default="greedy(32)")
    parser.add_argument("--crop", type=int, default=224, help="pixels of an image's side")
    parser.add_argument("--capacity", type=int, default=1024, help="requests that may wait")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    own = ":" in args.model
    # Weights are random: the work, and so the energy, is that of trained ones.
    factory = args.model if own else f"torchvision.models:{args.model}"
    model = ModelSource(factory, {}, path=(".",)).load().eval()
    with torch.inference_mode():
        model(torch.zeros(1, CHANNELS, args.crop, args.crop))  # the first call is a slow one
    app = application(model, parse_policy(args.policy), args.crop, args.capacity)
    uvicorn.run(app, host=args.host, port=args.port, access_log=False)


if __name__ == "__main__":
    main()
