"""A thin wrapper over toxiproxy-python, which keeps its address in a class, takes answers of 5xx for success, cannot
change a toxic and uses the deprecated POST: here each server has an address of its own and every refusal is raised.

    toxiproxy = Toxiproxy("127.0.0.1", 8474)
    toxiproxy.create("saas-postgres", upstream="127.0.0.1:5432", listen="127.0.0.1:15432")
    toxiproxy.add("saas-postgres", Latency(delay_s=0.2), stream="downstream", toxicity=0.5)
    toxiproxy.disable("saas-postgres")       # "down": refused, and living connections closed
    toxiproxy.reset()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests
from toxiproxy.api import APIConsumer, validate_response
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from environments.network.toxics.kinds import Toxic, attributes, from_attributes

STREAMS = ("upstream", "downstream")  # to the service; from it
_REFUSALS = {InvalidToxic: 400, NotFound: 404, ProxyExists: 409}


class ToxiproxyError(Exception):
    """The server refused, failed or did not answer. `status`: HTTP status, None without an answer."""

    def __init__(self, what: str, status: int | None, why: str) -> None:
        super().__init__(f"{what}: {'no answer' if status is None else status}: {why}")
        self.status = status


@dataclass(frozen=True)
class AddedToxic:
    """A toxic at work. toxicity: share of connections that it works on, 0..1."""

    name: str
    stream: str
    toxicity: float
    toxic: Toxic


@dataclass(frozen=True)
class ProxyState:
    """listen, upstream: host:port. enabled: False is `down`."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: Mapping[str, AddedToxic]

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


class Toxiproxy:
    """One server; any number of them in one process. Safe to use from several threads."""

    def __init__(self, host: str = "127.0.0.1", port: int = 8474, *, timeout_s: float = 30.0) -> None:
        # A class of its own: the package's HTTP functions read the address from the class that they are called on.
        self._http: Any = type("Consumer", (APIConsumer,), {"host": host, "port": port})
        self.url = f"http://{host}:{port}"
        self._options = {"timeout": timeout_s, "proxies": {"no_proxy": host}}

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer, None without a body. Raises ToxiproxyError."""
        what = f"toxiproxy at {self.url}: {method} {path}"
        calls: Mapping[str, Callable[[], Any]] = {
            "GET": lambda: self._http.get(path, **self._options),
            "POST": lambda: self._http.post(path, json=body, **self._options),
            "DELETE": lambda: self._http.delete(path, **self._options),
            # the package has no PATCH
            "PATCH": lambda: validate_response(requests.patch(self.url + path, json=body, **self._options)),  # type: ignore[arg-type]
        }
        try:
            answer = calls[method]()
        except tuple(_REFUSALS) as refusal:
            raise ToxiproxyError(what, _REFUSALS[type(refusal)], _said(refusal.args[0])) from None
        except requests.RequestException as error:
            raise ToxiproxyError(what, None, str(error)) from None
        if not answer.ok:
            raise ToxiproxyError(what, answer.status_code, _said(answer.content))
        return answer.json() if answer.content else None

    # -- the server

    def version(self) -> str:
        return str(self._ask("GET", "/version")["version"])

    def reset(self) -> None:
        """Every proxy enabled, no toxics."""
        self._ask("POST", "/reset")

    def populate(self, proxies: Sequence[Mapping[str, Any]]) -> list[ProxyState]:
        """Create or replace several; each has name, upstream, listen and perhaps enabled."""
        return [_proxy(each) for each in self._ask("POST", "/populate", [dict(each) for each in proxies])["proxies"]]

    def metrics(self) -> str:
        """Prometheus text: bytes that each proxy received and sent. The real server must be told to keep it."""
        try:
            answer = requests.get(f"{self.url}/metrics", **self._options)  # type: ignore[arg-type]
            answer.raise_for_status()
        except requests.RequestException as error:
            raise ToxiproxyError(f"toxiproxy at {self.url}: GET /metrics", None, str(error)) from None
        return answer.text

    # -- proxies

    def proxies(self) -> dict[str, ProxyState]:
        return {name: _proxy(each) for name, each in self._ask("GET", "/proxies").items()}

    def create(self, name: str, upstream: str, listen: str = "127.0.0.1:0", *, enabled: bool = True) -> ProxyState:
        """ValueError for a name with a slash: no route of the API would lead to it."""
        if "/" in name:
            raise ValueError(f"a proxy's name may not contain a slash: {name!r}")
        body = {"name": name, "upstream": upstream, "listen": listen, "enabled": enabled}
        return _proxy(self._ask("POST", "/proxies", body))

    def get(self, name: str) -> ProxyState:
        return _proxy(self._ask("GET", _path(name)))

    def update(
        self, name: str, *, upstream: str | None = None, listen: str | None = None, enabled: bool | None = None
    ) -> ProxyState:
        """A new upstream or listen address closes the living connections."""
        changes = {"upstream": upstream, "listen": listen, "enabled": enabled}
        return _proxy(self._ask("PATCH", _path(name), {key: each for key, each in changes.items() if each is not None}))

    def enable(self, name: str) -> ProxyState:
        return self.update(name, enabled=True)

    def disable(self, name: str) -> ProxyState:
        """`down`: connections are refused, living ones closed."""
        return self.update(name, enabled=False)

    def delete(self, name: str) -> None:
        self._ask("DELETE", _path(name))

    # -- toxics

    def toxics(self, proxy: str) -> dict[str, AddedToxic]:
        return {each["name"]: _toxic(each) for each in self._ask("GET", f"{_path(proxy)}/toxics")}

    def add(
        self, proxy: str, toxic: Toxic, *, stream: str = "downstream", toxicity: float = 1.0, name: str = ""
    ) -> AddedToxic:
        """At the end of the stream's chain. name: `kind_stream` if empty. ValueError: what cannot be counted."""
        body = {
            "name": name or f"{toxic.kind}_{stream}",
            "type": toxic.kind,
            "stream": stream,
            "toxicity": _share(toxicity),
            "attributes": attributes(toxic),
        }
        return _toxic(self._ask("POST", f"{_path(proxy)}/toxics", body))

    def update_toxic(
        self, proxy: str, name: str, toxic: Toxic | None = None, *, toxicity: float | None = None
    ) -> AddedToxic:
        """Other values for one that is there, for living connections too."""
        body: dict[str, Any] = {} if toxic is None else {"attributes": attributes(toxic)}
        if toxicity is not None:
            body["toxicity"] = _share(toxicity)
        return _toxic(self._ask("PATCH", f"{_path(proxy)}/toxics/{quote(name, safe='')}", body))

    def remove_toxic(self, proxy: str, name: str) -> None:
        self._ask("DELETE", f"{_path(proxy)}/toxics/{quote(name, safe='')}")


def _path(proxy: str) -> str:
    return f"/proxies/{quote(proxy, safe='')}"


def _share(toxicity: float) -> float:
    if not 0 <= toxicity <= 1:
        raise ValueError(f"toxicity must be a share from 0 to 1, not {toxicity!r}")
    return toxicity


def _said(content: bytes) -> str:
    return content.decode("utf-8", "replace").strip()[:500]


def _toxic(given: Mapping[str, Any]) -> AddedToxic:
    toxic = from_attributes(given["type"], given["attributes"])
    return AddedToxic(given["name"], given["stream"], float(given["toxicity"]), toxic)


def _proxy(given: Mapping[str, Any]) -> ProxyState:
    toxics = {each["name"]: _toxic(each) for each in given["toxics"]}
    return ProxyState(given["name"], given["listen"], given["upstream"], given["enabled"], toxics)
