"""A small language model behind OpenAI's protocol, batched continuously.

python examples/llm/server.py --model gpt2 --most 8

POST /v1/chat/completions, /v1/completions   streamed or whole, with usage
GET  /v1/models, /health

handlers ──> waiting ──> batch ──> tokens ──> handlers
               `─ full: 429
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import torch
import uvicorn
from engine import Engine, Sequence
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tiny import load
from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TOO_MANY = 429


def application(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, most: int, capacity: int
) -> Starlette:
    """The endpoints around one engine."""
    engine = Engine(model, tokenizer.eos_token_id, most)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        serving = asyncio.create_task(engine.serve())
        yield
        serving.cancel()

    def refused(status: int, message: str) -> JSONResponse:
        headers = {"retry-after": "1"} if status == TOO_MANY else None
        return JSONResponse({"error": {"message": message, "code": status}}, status, headers)

    async def complete(request: Request) -> Response:
        try:
            asked, chat = await request.json(), request.url.path == CHAT
            ids, wanted = read(tokenizer, asked, chat=chat)
        except Exception as error:  # whatever a client sends
            return refused(400, f"not a request: {type(error).__name__}: {error}")
        if asked.get("model") != name:
            return refused(404, f"the model {asked.get('model')!r} does not exist")
        if (length := len(ids) + wanted) > (context := model.config.max_position_embeddings):
            return refused(400, f"{length} tokens exceed the context of {context}")
        if len(engine.waiting) >= capacity:
            return refused(TOO_MANY, "too many requests wait")
        one, prompt_tokens = Sequence(list(ids), wanted, bool(asked.get("ignore_eos"))), len(ids)
        engine.waiting.append(one)
        engine.arrived.set()
        head = {"id": f"{id(one):x}", "created": int(time.time()), "model": name}

        def choice(text: str, reason: str | None = None, part: str = "delta") -> list[object]:
            said = {part: {"content": text}} if chat else {"text": text}
            return [{"index": 0, **said, "finish_reason": reason}]

        def end() -> tuple[str, dict[str, int]]:
            counts = {"prompt_tokens": prompt_tokens, "completion_tokens": one.made}
            usage = counts | {"total_tokens": prompt_tokens + one.made}
            return "length" if one.made >= wanted else "stop", usage

        async def events() -> AsyncIterator[str]:
            try:
                while (token := await one.tokens.get()) is not None:
                    yield f"data: {json.dumps({**head, 'choices': choice(decode(token))})}\n\n"
                reason, usage = end()
                yield f"data: {json.dumps({**head, 'choices': choice('', reason)})}\n\n"
                if (asked.get("stream_options") or {}).get("include_usage"):
                    yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
                yield "data: [DONE]\n\n"
            finally:
                one.gone = True

        if asked.get("stream"):
            return StreamingResponse(events(), media_type="text/event-stream")
        text = ""
        while (token := await one.tokens.get()) is not None:
            text += decode(token)
        reason, usage = end()
        return JSONResponse({**head, "choices": choice(text, reason, "message"), "usage": usage})

    def decode(token: int) -> str:
        return tokenizer.decode([token])

    async def models(_: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"}]})

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ready", "waiting": len(engine.waiting)})

    routes = [Route(path, complete, methods=["POST"]) for path in (CHAT, COMPLETIONS)]
    routes.append(Route("/health", health))
    return Starlette(routes=[*routes, Route("/v1/models", models)], lifespan=lifespan)


def read(
    tokenizer: PreTrainedTokenizerBase, asked: dict[str, Any], *, chat: bool
) -> tuple[list[int], int]:
    """The tokens of a prompt, and how many are wanted."""
    wanted = int(asked.get("max_tokens") or asked.get("max_completion_tokens") or 16)
    if not chat:
        return tokenizer.encode(asked["prompt"]), wanted
    messages = [one | {"content": text_of(one["content"])} for one in asked["messages"]]
    settings = {"add_generation_prompt": True, "return_dict": False}
    return tokenizer.apply_chat_template(messages, **settings), wanted


def text_of(content: str | list[dict[str, str]]) -> str:
    """The text of a message, which may come in parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def main() -> None:
    """Read the command line and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="gpt2", help="gpt2 or llama, tiny; or a folder")
    parser.add_argument("--most", type=int, default=8, help="sequences in a batch")
    parser.add_argument("--capacity", type=int, default=1024, help="requests that may wait")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    app = application(*load(args.model), args.model, args.most, args.capacity)
    uvicorn.run(app, host=args.host, port=args.port, access_log=False)


if __name__ == "__main__":
    main()
