"""What the checks share: GraphQL, refusals told from crashes, exchanges recorded without their tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from environments.contract import (
    Capability,
    Client,
    Deployment,
    Evidence,
    Node,
    Response,
    SuiteError,
    TransportError,
    User,
    untestable,
)
from environments.contract.exchanges import asked, head
from environments.contract.exchanges import redact as redact
from environments.contract.messages import UNCODED
from environments.contract.wire import breach


class Shown(dict[str, Any]):
    """An exchange: as evidence a mapping, in a sentence what was asked and what was answered."""

    def __str__(self) -> str:
        asked_ = f"{self['request']} " if "request" in self else ""
        code = f" with code {self['code']}" if self["code"] is not None else ""
        return f"{asked_}was answered {self['status']}{code}: {self['body']}"

    __format__ = object.__format__


def shown(response: Response, limit: int = 400) -> Shown:
    """An exchange as evidence: what was asked and by whom, status, error code and the head of the body; no tokens."""
    told = Shown(request=asked(response.request, 200)) if response.request else Shown()
    told.update(status=response.status, code=response.error_code, body=head(response.body, limit))
    return told


def parsed(response: Response) -> Any:
    """The JSON of an answer; an AssertionError if it is none (a broken answer is the deployment's fault)."""
    try:
        return response.json()
    except ValueError as error:
        raise AssertionError(f"the answer is not JSON ({error}): {shown(response)}") from error


def document(response: Response) -> dict[str, Any]:
    """The JSON object of an answer; an AssertionError if it is none."""
    value = parsed(response)
    assert isinstance(value, dict), f"the answer is not a JSON object: {shown(response)}"
    return value


def assert_no_crash(response: Response, what: str) -> Response:
    """A crash is never a refusal."""
    assert response.status != 500, f"{what}: answered 500: {shown(response)}"
    assert response.error_code not in {"INTERNAL", "INTERNAL_SERVER_ERROR", UNCODED}, (
        f"{what}: a crash, or an error without a code: {shown(response)}"
    )
    return response


def data_of(response: Response, what: str) -> dict[str, Any]:
    """`data` of a GraphQL answer without errors, of the types that the schema gives what was asked for; an
    AssertionError naming `what` otherwise."""
    assert_no_crash(response, what)
    body = document(response)
    assert response.status == 200 and not body.get("errors"), f"{what}: expected data and no error: {shown(response)}"
    data = body.get("data")
    assert isinstance(data, dict), f"{what}: no data: {shown(response)}"
    broken = breach(response)
    assert not broken, f"{what}: the answer breaks the contract's form ({broken}): {shown(response)}"
    return data


def of_form(response: Response, what: str) -> dict[str, Any]:
    """The JSON object of a good answer of REST, in the form that the contract gives it; AssertionError otherwise."""
    value = document(assert_no_crash(response, what))
    broken = f"status {response.status}" if response.status >= 400 else breach(response)
    assert not broken, f"{what}: the answer breaks the contract's form ({broken}): {shown(response)}"
    return value


def ask(client: Client, query: str, variables: Mapping[str, Any] | None = None, what: str = "") -> dict[str, Any]:
    return data_of(client.graphql(query, variables), what or query[:80])


def assert_refused(response: Response, status: int | None, code: str, what: str) -> None:
    """Refused for the named reason, and for no other."""
    assert_no_crash(response, what)
    if status is not None:
        assert response.status == status, f"{what}: expected {status} {code}: {shown(response)}"
    assert response.error_code == code, f"{what}: expected {code}: {shown(response)}"


def tenants(node: Node) -> list[str]:
    """Customer tenants of the node, in a fixed order; `_system` is not one."""
    return sorted({user.tenant for user in node.users if not user.tenant.startswith("_") and not _machine(user)})


def _machine(user: User) -> bool:
    return user.username.startswith("node:")


def two_tenants(node: Node) -> tuple[str, str]:
    names = tenants(node)
    if len(names) < 2:
        raise SuiteError(f"{node.name} has {len(names)} tenant(s); isolation needs two seeded tenants")
    return names[0], names[1]


def signed_in(node: Node, role: str = "admin", tenant: str | None = None) -> Client:
    return node.login(node.user(role, tenant or tenants(node)[0]))


def http_bases(node: Node) -> dict[str, str]:
    """role -> base URL of each HTTP service, one role per distinct URL; without the parent's."""
    bases: dict[str, str] = {}
    for role in ("data", "identity", "admin", "control"):
        try:
            url = node.url(role)
        except KeyError:
            continue
        if url not in bases.values():
            bases[role] = url
    return bases


def probe(node: Node, method: str, url: str, origin: str | None = None, **kwargs: Any) -> Response | TransportError:
    """One raw request; a missing answer is a value here, because many checks expect it."""
    try:
        return node.http(origin).request(method, url, **kwargs)
    except TransportError as error:
        return error


def need(deployment: Deployment, capability: Capability) -> None:
    """For a part of a check only; a whole check says it in `needs`."""
    if capability not in deployment.capabilities:
        untestable(f"{capability.value}: {deployment.missing.get(capability, 'not offered by this environment')}")


@contextmanager
def healed_after(deployment: Deployment) -> Iterator[None]:
    """Whatever the check broke is mended before the next one starts."""
    try:
        yield
    finally:
        deployment.heal()


def conclude(evidence: Evidence, problems: list[str], expected: str, observed: str) -> None:
    """Write both sides of the verdict, then fail with every problem, a line each, and the first as the reason."""
    evidence.expected = expected
    evidence.observed = observed if not problems else listed(problems)
    more = f" (the first of {len(problems)} problems)" if len(problems) > 1 else ""
    assert not problems, problems[0] + more


def listed(problems: Sequence[str], most: int = 20) -> str:
    """A line each, those alike counted; of the rest, how many."""
    alike = Counter(problems)
    lines = [text if count == 1 else f"{text} ({count} times)" for text, count in alike.items()]
    rest = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join(lines[:most] + rest)
