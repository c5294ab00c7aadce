"""A small Toxiproxy: the HTTP API and the toxics of Toxiproxy 2.12, for machines that have not the real one.

    python -m environments.network.toxics.server --port 8474 --seed 42

It answers as the real one does (routes, documents, status codes, error bodies; one test module is run against both),
with differences that serve this suite: all that is random comes from --seed, by proxy, connection and toxic, so that
the same connections in the same order get the same faults; a toxic works on a connection or not for that connection's
whole life; without a listen address it listens on loopback alone; /metrics is always there and up to date.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from environments.network.toxics.chain import ATTRIBUTES, ToxicSpec
from environments.network.toxics.proxying import STREAMS, Proxy, address

VERSION = "2.12.0+builtin"
LABELS = ("direction", "proxy", "listener", "upstream")


class Refused(Exception):
    """An error of Toxiproxy's API: its words, its status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    def document(self) -> dict[str, object]:
        return {"error": str(self), "status": self.status}


class Api:
    """The proxies of one server, and what each route does with them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._proxies: dict[str, Proxy] = {}

    def routes(self) -> list[Route]:
        one, toxics = "/proxies/{proxy}", "/proxies/{proxy}/toxics"
        return [
            Route("/version", self.version, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/reset", self.reset, methods=["POST"]),
            Route("/populate", self.populate, methods=["POST"]),
            Route("/proxies", self.index, methods=["GET"]),
            Route("/proxies", self.create, methods=["POST"]),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.update, methods=["POST", "PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(toxics, self.toxic_index, methods=["GET"]),
            Route(toxics, self.toxic_create, methods=["POST"]),
            Route(toxics + "/{toxic}", self.toxic_show, methods=["GET"]),
            Route(toxics + "/{toxic}", self.toxic_update, methods=["POST", "PATCH"]),
            Route(toxics + "/{toxic}", self.toxic_delete, methods=["DELETE"]),
        ]

    # -- the server

    async def version(self, _: Request) -> Response:
        return JSONResponse({"version": VERSION})

    async def metrics(self, _: Request) -> Response:
        registry = CollectorRegistry()
        registry.register(self)
        return PlainTextResponse(generate_latest(registry))

    def collect(self) -> Iterator[CounterMetricFamily]:
        """For Prometheus: Toxiproxy's two counters of bytes, and the reads and writes that carried them."""
        for name in ("received_bytes", "sent_bytes", "received_chunks", "sent_chunks"):
            family = CounterMetricFamily(f"toxiproxy_proxy_{name}", name.replace("_", " "), labels=LABELS)
            for proxy in self._proxies.values():
                for stream, traffic in proxy.traffic.items():
                    family.add_metric([stream, proxy.name, proxy.listen, proxy.upstream], getattr(traffic, name))
            yield family

    async def reset(self, _: Request) -> Response:
        for proxy in self._proxies.values():
            _start(proxy)
            for toxic in list(proxy.toxics):
                proxy.remove(toxic)
        return Response(status_code=204)

    async def populate(self, request: Request) -> Response:
        given = await _body(request, list)
        for place, each in enumerate(given, 1):
            for key in ("name", "upstream"):
                if not _field(each, key, str, ""):
                    raise Refused(f"missing required field: {key} at proxy {place}", 400)
        done: list[Proxy] = []
        try:
            for each in given:
                done.append(self._added_or_replaced(each))
        except Refused as refusal:
            document = {**refusal.document(), "proxies": [proxy.document() for proxy in done]}
            return JSONResponse(document, refusal.status)
        return JSONResponse({"proxies": [proxy.document() for proxy in done]}, 201)

    def _added_or_replaced(self, given: dict[str, Any]) -> Proxy:
        proxy = self._made(given)
        old = self._proxies.get(proxy.name)
        if old is not None:
            if not _differs(old, proxy.listen, proxy.upstream):
                return old
            old.stop()
        if _field(given, "enabled", bool, True):
            _start(proxy)
        self._proxies[proxy.name] = proxy
        return proxy

    # -- proxies

    def _made(self, given: dict[str, Any]) -> Proxy:
        name = _field(given, "name", str, "")
        seed = f"{self._seed}/{name}"
        return Proxy(name, _field(given, "listen", str, ""), _field(given, "upstream", str, ""), seed)

    def _proxy(self, request: Request) -> Proxy:
        try:
            return self._proxies[request.path_params["proxy"]]
        except KeyError:
            raise Refused("proxy not found", 404) from None

    async def index(self, _: Request) -> Response:
        return JSONResponse({name: proxy.document() for name, proxy in self._proxies.items()})

    async def create(self, request: Request) -> Response:
        given = await _body(request, dict)
        proxy = self._made(given)
        for key in ("name", "upstream"):
            if not getattr(proxy, key):
                raise Refused(f"missing required field: {key}", 400)
        if proxy.name in self._proxies:
            raise Refused("proxy already exists", 409)
        if _field(given, "enabled", bool, True):
            _start(proxy)
        self._proxies[proxy.name] = proxy
        return JSONResponse(proxy.document(), 201)

    async def show(self, request: Request) -> Response:
        return JSONResponse(self._proxy(request).document())

    async def update(self, request: Request) -> Response:
        proxy = self._proxy(request)
        given = await _body(request, dict)
        listen, upstream = _field(given, "listen", str, proxy.listen), _field(given, "upstream", str, proxy.upstream)
        enabled = _field(given, "enabled", bool, proxy.enabled)
        if _differs(proxy, listen, upstream):
            proxy.stop()
            proxy.listen, proxy.upstream = listen, upstream
        if enabled and not proxy.enabled:
            _start(proxy)
        elif not enabled and proxy.enabled:
            proxy.stop()
        return JSONResponse(proxy.document())

    async def delete(self, request: Request) -> Response:
        proxy = self._proxy(request)
        proxy.stop()
        del self._proxies[proxy.name]
        return Response(status_code=204)

    # -- toxics

    def _toxic(self, request: Request) -> tuple[Proxy, ToxicSpec]:
        proxy = self._proxy(request)
        toxic = proxy.toxic(request.path_params["toxic"])
        if toxic is None:
            raise Refused("toxic not found", 404)
        return proxy, toxic

    async def toxic_index(self, request: Request) -> Response:
        return JSONResponse(self._proxy(request).document()["toxics"])

    async def toxic_create(self, request: Request) -> Response:
        proxy = self._proxy(request)
        given = await _body(request, dict)
        kind, stream = _field(given, "type", str, ""), _field(given, "stream", str, "downstream")
        toxicity = _field(given, "toxicity", float, 1.0)
        stream = stream.lower()
        if stream not in STREAMS:
            raise Refused("stream was invalid, can be either upstream or downstream", 400)
        name = _field(given, "name", str, "") or f"{kind}_{stream}"
        if kind not in ATTRIBUTES:
            raise Refused("invalid toxic type", 400)
        if proxy.toxic(name):
            raise Refused("toxic already exists", 409)
        values = dict.fromkeys(ATTRIBUTES[kind], 0) | _attributes(kind, given)
        toxic = ToxicSpec(name, kind, stream, toxicity, values)
        proxy.add(toxic)
        return JSONResponse(toxic.document())

    async def toxic_show(self, request: Request) -> Response:
        return JSONResponse(self._toxic(request)[1].document())

    async def toxic_update(self, request: Request) -> Response:
        proxy, toxic = self._toxic(request)
        given = await _body(request, dict)
        toxicity = _field(given, "toxicity", float, toxic.toxicity)
        toxic.attributes.update(_attributes(toxic.kind, given))
        toxic.toxicity = toxicity
        proxy.update(toxic)
        return JSONResponse(toxic.document())

    async def toxic_delete(self, request: Request) -> Response:
        proxy, toxic = self._toxic(request)
        proxy.remove(toxic)
        return Response(status_code=204)


def _start(proxy: Proxy) -> None:
    try:
        proxy.start()
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        raise Refused(f"listen tcp {proxy.listen}: {why}", 500) from None


def _differs(proxy: Proxy, listen: str, upstream: str) -> bool:
    if upstream != proxy.upstream:
        return True
    try:
        ours, theirs = address(proxy.listen), address(listen)
        return ours[1] != theirs[1] or ours[0] not in {each[4][0] for each in socket.getaddrinfo(*theirs)}
    except (OSError, ValueError):
        return listen != proxy.listen


async def _body(request: Request, kind: type) -> Any:
    try:
        given = json.loads(await request.body())
    except ValueError as error:
        raise Refused(f"bad request body: {error}", 400) from None
    if not isinstance(given, kind):
        raise Refused(f"bad request body: expected a JSON {'object' if kind is dict else 'array'}", 400)
    return given


def _field(given: Any, name: str, kind: type, default: Any) -> Any:
    """A field of a document, or its default. Toxiproxy takes null for absent, and refuses other types."""
    value = given.get(name) if isinstance(given, dict) else None
    if value is None:
        return default
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise Refused(f"bad request body: {name} is not of type {kind.__name__}: {value!r}", 400)
    return value


def _attributes(kind: str, given: dict[str, Any]) -> dict[str, int]:
    values = _field(given, "attributes", dict, {})
    known = {name: _field(values, name, int, None) for name in ATTRIBUTES[kind]}
    return {name: value for name, value in known.items() if value is not None}


class NoBrowsers:
    """A page in a browser must not be able to command this server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        agent = dict(scope.get("headers") or []).get(b"user-agent", b"")
        if agent.startswith(b"Mozilla/"):
            await PlainTextResponse("User agent not allowed\n", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refused)
    return JSONResponse(refusal.document(), refusal.status)


def application(seed: int) -> Starlette:
    handlers: dict[Any, Callable[..., Any]] = {Refused: _refused}
    return Starlette(routes=Api(seed).routes(), middleware=[Middleware(NoBrowsers)], exception_handlers=handlers)


async def _serve(listener: socket.socket, seed: int, until_eof: bool) -> None:
    config = uvicorn.Config(application(seed), loop="asyncio", log_level="warning", lifespan="off", access_log=False)
    server = uvicorn.Server(config)

    def ended() -> None:
        server.should_exit = True
        asyncio.get_running_loop().remove_reader(0)

    if until_eof:
        asyncio.get_running_loop().add_reader(0, ended)
    await server.serve(sockets=[listener])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m environments.network.toxics.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address of the API")
    parser.add_argument("--port", type=int, default=8474, help="port of the API; 0: a free one, printed")
    parser.add_argument("--fd", type=int, help="a listening socket to serve the API on, instead of host and port")
    parser.add_argument("--seed", type=int, default=0, help="seed of toxicity, jitter and slices")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input does: its owner is gone")
    options = parser.parse_args()
    try:
        listener = (
            socket.create_server((options.host, options.port))
            if options.fd is None
            else socket.socket(fileno=options.fd)
        )
    except OSError as error:
        sys.stderr.write(f"toxics: cannot listen on {options.host}:{options.port}: {os.strerror(error.errno or 0)}\n")
        return 254
    host, port = listener.getsockname()[:2]
    sys.stdout.write(json.dumps({"url": f"http://{host}:{port}", "version": VERSION, "seed": options.seed}) + "\n")
    sys.stdout.flush()
    asyncio.run(_serve(listener, options.seed, options.until_eof))
    return 0


if __name__ == "__main__":
    sys.exit(main())
