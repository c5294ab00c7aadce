"""FUN-09 and FUN-10: people sign in where they are, and leave when their own organisation says so."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from environments.contract import (
    Capability,
    Client,
    Deployment,
    Directory,
    Evidence,
    Node,
    Response,
    TransportError,
    User,
    requirement,
)
from suites.exchange import (
    assert_no_crash,
    assert_refused,
    conclude,
    data_of,
    document,
    healed_after,
    shown,
    signed_in,
    tenants,
)
from suites.waiting import wait_until

SLACK_S = 3.0  # beyond the stated bound: the look itself, with the deadline that the product gives it
OUT = ("UNAUTHENTICATED", "UNAVAILABLE")
ME = "{ me { sub tenantId roles } }"


def person(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def is_in(client: Client) -> bool:
    """Whether the session is let in; a crash is never a refusal."""
    answer = assert_no_crash(client.graphql(ME), "me")
    return answer.status == 200 and answer.error_code is None


def who(client: Client) -> dict[str, object]:
    answer = client.graphql(ME)
    assert answer.status == 200, f"me: {shown(answer)}"
    found: dict[str, object] = data_of(answer, "me")["me"]
    return found


def cut_off(deployment: Deployment) -> float:
    """Every link of the deployment cut, and what leaves it dropped; the time from which the ledger counts."""
    deployment.egress.mode("drop")
    for name in deployment.links.names():
        deployment.links.cut(*name.split("--"))
    return time.time()


def attempts(deployment: Deployment, node: Node, since_s: float) -> list[str]:
    rows = deployment.egress.attempts(node.site, since_s)
    return sorted({f"{row.protocol} {row.name or row.destination}:{row.port}" for row in rows})


@requirement(
    "FUN-09",
    needs=(Capability.DIRECTORY, Capability.EGRESS_LEDGER),
    only=("onprem-connected", "onprem-tethered", "onprem-airgap"),
)
def test_people_of_the_customer_sign_in_with_the_network_gone(deployment: Deployment, evidence: Evidence) -> None:
    """With every link cut, someone of the customer's directory signs in with the roles of their groups; a wrong
    password, a locked account and a stranger to the product's groups are refused; nothing tries to leave."""
    node = deployment.subject
    directory = deployment.directories[node.name]
    good, locked = directory.add(person("in"), ["analyst"]), directory.add(person("locked"), ["analyst"])
    stranger = directory.add(person("stranger"), [])
    directory.disable(locked.username)
    with healed_after(deployment):
        since_s = cut_off(deployment)
        started = time.monotonic()
        client = directory.sign_in(good)
        took_s = time.monotonic() - started
        me = who(client)
        wrong = User(good.tenant, good.username, good.password + "x", good.roles)
        for whom, why in ((wrong, "a wrong password"), (locked, "a locked account"), (stranger, "no group of ours")):
            assert_refused(directory.try_sign_in(whom), 401, "UNAUTHENTICATED", why)
        left = attempts(deployment, node, since_s)
    evidence.add("me", me)
    evidence.add("signed in after", round(took_s, 3))
    problems = [f"signing in reached out: {each}" for each in left]
    if (me["sub"], me["tenantId"], me["roles"]) != (good.username, directory.tenant, ["analyst"]):
        problems.append(f"{good.username} of {directory.tenant}, an analyst, is {me}")
    conclude(evidence, problems, "in by the directory alone", f"{me}; three refused, nothing left the site")


@requirement("FUN-09", needs=(Capability.EGRESS_LEDGER,))
def test_accounts_of_the_node_sign_in_with_the_network_gone(deployment: Deployment, evidence: Evidence) -> None:
    """With every link cut, the node's own accounts sign in, an unknown one is refused, and nothing tries to leave."""
    node = deployment.subject
    with healed_after(deployment):
        since_s = cut_off(deployment)
        started = time.monotonic()
        people = [who(signed_in(node, role, tenants(node)[0]))["sub"] for role in ("admin", "analyst", "viewer")]
        operator = node.login(node.user("operator"))
        took_s = time.monotonic() - started
        unknown = {"tenant": tenants(node)[0], "username": person("nobody"), "password": "x" * 12}
        answer = node.http().request("POST", node.url("identity") + "/v1/auth/login", json=unknown)
        left = attempts(deployment, node, since_s)
    evidence.add("signed in", [*people, operator.user.username if operator.user else ""])
    evidence.add("four sign-ins took", round(took_s, 3))
    assert_refused(answer, 401, "UNAUTHENTICATED", "an account that nobody has")
    problems = [f"signing in reached out: {each}" for each in left]
    conclude(
        evidence, problems, "nothing leaves the site", f"4 accounts in within {took_s:.1f} s, nothing left the site"
    )


def bound_of(node: Node) -> float:
    """How long someone who is disabled may stay, as the product states it."""
    limits = document(node.http().request("GET", node.url("data") + "/.well-known/companyos"))["limits"]
    stated = limits.get("directory_recheck_s")
    assert isinstance(stated, (int, float)), f"the node states no bound (limits.directory_recheck_s): {limits}"
    assert 0 < stated <= 3600, f"a bound of {stated} s is none"
    return float(stated)


def until(condition: Callable[[], bool], bound_s: float) -> float:
    return wait_until(condition, bound_s + SLACK_S)


@requirement("FUN-10", needs=(Capability.DIRECTORY,))
def test_who_is_disabled_is_out_within_the_bound(deployment: Deployment, evidence: Evidence) -> None:
    """Two people sign in at the customer's provider. One is disabled there: within the stated bound that session is
    out and no new one begins, while the other goes on. Enabled again, a new session begins."""
    node = deployment.subject
    directory = deployment.directories[node.name]
    bound_s = bound_of(node)
    leaves, stays = (directory.add(person(name), ["analyst"]) for name in ("leaves", "stays"))
    out, kept = directory.sign_in(leaves), directory.sign_in(stays)
    assert is_in(out) and is_in(kept), "someone who has just signed in is not let in"
    directory.disable(leaves.username)
    others: list[bool] = []

    def gone() -> bool:
        others.append(is_in(kept))
        return not is_in(out)

    took_s = until(gone, bound_s)
    last, again = out.graphql(ME), directory.try_sign_in(leaves)
    directory.enable(leaves.username)
    back = is_in(directory.sign_in(leaves))
    evidence.add("bound", bound_s)
    evidence.add("out after", round(took_s, 3))
    evidence.add("answer to the disabled", shown(last))
    problems = []
    if took_s > bound_s + SLACK_S:
        problems.append(f"{leaves.username} was disabled and still let in {took_s:.1f} s later; stated: {bound_s:g} s")
    elif last.error_code not in OUT:
        problems.append(f"the disabled session is answered {last.error_code}, not {' or '.join(OUT)}")
    if _let_in(again):
        problems.append(f"{leaves.username} is disabled and signed in anew")
    if not all(others):
        problems.append(f"{stays.username}, whom nobody disabled, was refused {others.count(False)} times")
    if not back:
        problems.append(f"{leaves.username} is enabled again and is not let in")
    conclude(evidence, problems, f"out within {bound_s:g} s", f"out after {took_s:.1f} s; the other stayed")


@requirement("FUN-10", needs=(Capability.DIRECTORY,))
def test_roles_are_those_that_the_directory_gives_now(deployment: Deployment, evidence: Evidence) -> None:
    """Someone who is removed from the directory is out within the bound, as someone who is disabled is."""
    node = deployment.subject
    directory = deployment.directories[node.name]
    bound_s = bound_of(node)
    gone = directory.add(person("removed"), ["viewer"])
    client = directory.sign_in(gone)
    roles = who(client)["roles"]
    assert roles == ["viewer"], f"a viewer signed in with roles {roles}"
    directory.remove(gone.username)
    took_s = until(lambda: not is_in(client), bound_s)
    evidence.add("out after", round(took_s, 3))
    problems = [f"still let in {took_s:.1f} s after the removal"] if took_s > bound_s + SLACK_S else []
    conclude(evidence, problems, f"out within {bound_s:g} s", f"a viewer, out {took_s:.1f} s after the removal")


@requirement("FUN-10", needs=(Capability.DIRECTORY, Capability.PROCESS_CONTROL))
def test_nobody_stays_in_because_the_provider_is_silent(deployment: Deployment, evidence: Evidence) -> None:
    """The provider stops answering: within the bound its people are out with a typed answer, nobody signs in through
    it, and the node's own operator still does. When it answers again they are let in."""
    node = deployment.subject
    directory = deployment.directories[node.name]
    bound_s = bound_of(node)
    user = directory.add(person("waits"), ["analyst"])
    client = directory.sign_in(user)
    assert is_in(client), "someone who has just signed in is not let in"
    with healed_after(deployment):
        node.pause(_asked(directory))
        took_s = until(lambda: not is_in(client), bound_s)
        silent = client.graphql(ME)
        fresh = _tried(directory, user)
        operator = node.login(node.user("operator"))
    back_s = until(lambda: is_in(client), bound_s)
    evidence.add("out after", round(took_s, 3))
    evidence.add("answer while it is silent", shown(silent))
    problems = []
    if took_s > bound_s + SLACK_S:
        problems.append(f"still let in {took_s:.1f} s after the provider fell silent; stated: {bound_s:g} s")
    elif silent.error_code != "UNAVAILABLE":
        problems.append(f"the answer is {silent.error_code}, not UNAVAILABLE: nobody said that the session is over")
    if fresh is not None and _let_in(fresh):
        problems.append("someone signed in through a provider that does not answer")
    if operator.token is None:
        problems.append("the node's own operator could not sign in")
    if back_s > bound_s + SLACK_S:
        problems.append("the provider answers again and its people stay out")
    conclude(
        evidence, problems, "out, typed, and back", f"out after {took_s:.1f} s, back {back_s:.1f} s after the heal"
    )


def _asked(directory: Directory) -> str:
    """The server that the product asks."""
    return directory.services[-1]


def _tried(directory: Directory, user: User) -> Response | None:
    try:
        return directory.try_sign_in(user)
    except TransportError:
        return None


def _let_in(answer: Response) -> bool:
    return answer.status == 200 and b"accessToken" in answer.body
