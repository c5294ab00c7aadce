"""SEC-01: whoever owns the data keeps its key, and without the key the data cannot be read."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from environments.contract import Capability, Client, Deployment, Evidence, Node, Response, TransportError, requirement
from suites.exchange import conclude, document, healed_after, probe, shown, signed_in
from suites.product import create_entity, create_investigation, create_relationship, literal
from suites.security.custody import Sample, found_in, judge_at_rest, judge_custody, judge_withdrawal, outcome
from suites.waiting import wait_until

GRACE_S = 2.0  # beyond the declared bound: a request that was under way, and the HSM's own time
RESTART_S = 20.0
LIMIT_BYTES = 64 << 20  # of one file that is scanned
TABLES = """select format('%I.%I', schemaname, tablename) from pg_tables
where schemaname not in ('pg_catalog', 'information_schema') order by 1"""

Channel = Callable[[Client], Response]


def _declared(node: Node) -> dict[str, object]:
    answer = node.http().request("GET", node.url("data") + "/.well-known/companyos")
    keys = document(answer).get("keys")
    assert isinstance(keys, dict) and keys.get("kind") != "none", f"no custody of keys is declared: {shown(answer)}"
    return keys


def _asking(query: str) -> Channel:
    return lambda client: client.graphql(query)


def _channels(node: Node, client: Client, canary: str) -> dict[str, tuple[Channel, bytes]]:
    """Every way to sealed content: name -> (one attempt, what only content has)."""
    kind = f"custody-{uuid.uuid4().hex}"  # of its own: a page of all entities need not have it
    near = create_entity(client, kind, {"secret": canary}, labels=["sealed"])
    far = create_entity(client, kind, {"secret": canary + "-far"})
    edge = create_relationship(client, near["id"], far["id"], "beside", {"secret": canary})
    walk = f'graphNeighborhood(startEntityId: "{near["id"]}") {{ entities {{ props }} }}'
    queries = {
        "entity": f'{{ entity(id: "{near["id"]}") {{ props }} }}',
        "entities": f"{{ entities(kind: {literal(kind)}) {{ props }} }}",
        "search": f"{{ searchEntities(text: {literal(canary)}) {{ props }} }}",
        "relationship": f'{{ relationship(id: "{edge["id"]}") {{ props }} }}',
        "neighborhood": f"{{ {walk} }}",
        "update": f'mutation {{ updateEntity(id: "{near["id"]}", input: {{labels: ["x"]}}) {{ props }} }}',
    }
    if node.mode != "D":
        made = create_investigation(client, f"custody {canary[:8]}", description=canary)
        queries["investigation"] = f'{{ investigation(id: "{made["id"]}") {{ description }} }}'
    channels: dict[str, tuple[Channel, bytes]] = {
        name: (_asking(query), canary.encode()) for name, query in queries.items()
    }
    new = f'mutation {{ createEntity(input: {{kind: "custody", props: {{secret: {literal(canary)}}}}}) {{ id }} }}'
    channels["create"] = (_asking(new), b"")
    if node.mode != "D":
        channels["export"] = ((lambda c: c.data("POST", "/v1/export")), canary.encode())
    return channels


def _tried(phase: str, client: Client, channels: dict[str, tuple[Channel, bytes]]) -> list[Sample]:
    samples = []
    for name, (attempt, canary) in channels.items():
        try:
            answer: Response | TransportError = attempt(client)
        except TransportError as error:
            answer = error
        samples.append(Sample(phase, name, outcome(answer, canary)))
    return samples


def _settled(
    phase: str, wanted: str, limit_s: float, sample: Callable[[str], list[Sample]]
) -> tuple[list[Sample], float]:
    """The first round in which every channel is as wanted (else the last one), and after how long."""
    rounds: list[list[Sample]] = []

    def as_wanted() -> bool:
        rounds.append(sample(phase))
        return all(each.outcome == wanted for each in rounds[-1])

    waited_s = wait_until(as_wanted, limit_s)
    return rounds[-1], waited_s


def _restart(node: Node, service: str, client: Client) -> None:
    """The service anew: nothing that it had in memory is left."""
    node.kill(service)
    node.start(service)
    base = node.url("data")

    def answers() -> bool:
        answer = probe(node, "GET", base + "/healthz")
        return not isinstance(answer, TransportError) and answer.status == 200

    waited_s = wait_until(answers, RESTART_S)
    assert waited_s <= RESTART_S, f"{service} does not start without the key: it must live to say what is missing"


@requirement("SEC-01", needs=(Capability.KEY_CUSTODY, Capability.PROCESS_CONTROL))
def test_without_its_key_no_content_can_be_read(deployment: Deployment, evidence: Evidence) -> None:
    """The key is withdrawn: within the declared bound every way to content says KEY_UNAVAILABLE, after a restart too;
    it is given back, and the same content is there again."""
    node, custody = deployment.subject, deployment.custody(deployment.subject.name)
    bound_s = float(str(_declared(node)["recheck_s"]))
    client = signed_in(node, "admin")
    channels = _channels(node, client, f"canary-{uuid.uuid4().hex}")
    with healed_after(deployment):
        samples = _tried("before", client, channels)
        custody.withdraw()
        limit_s = bound_s + GRACE_S
        refused, took_s = _settled("withdrawn", "refused", limit_s, lambda phase: _tried(phase, client, channels))
        samples += refused + _tried("withdrawn", client, channels)
        _restart(node, "edge" if node.mode == "D" else "data", client)
        samples += _tried("restarted", client, channels) + _tried("restarted", client, channels)
        custody.give_back()
        again, back_s = _settled("restored", "content", limit_s, lambda phase: _tried(phase, client, channels))
        samples += again
    evidence.add("samples", [vars(each) for each in samples])
    evidence.add("seconds", {"bound": bound_s, "refused_after": round(took_s, 2), "back_after": round(back_s, 2)})
    conclude(
        evidence,
        judge_withdrawal(samples),
        f"content; KEY_UNAVAILABLE within {limit_s:g} s, after a restart too; content again",
        f"{len(channels)} ways to content refused after {took_s:.1f} s, back {back_s:.1f} s after the key was",
    )


@requirement("SEC-01", needs=(Capability.KEY_CUSTODY,))
def test_key_is_kept_by_whom_the_mode_promises(deployment: Deployment, evidence: Evidence) -> None:
    """An HSM or a TPM keeps the key where the strategy says so, refuses to hand it out, and is the one declared."""
    node = deployment.subject
    declared, facts = _declared(node), deployment.custody(node.name).facts()
    evidence.add("declared", declared)
    evidence.add("facts", vars(facts))
    problems = judge_custody(
        node.mode.value, facts.kind, str(declared["kind"]), facts.extractable, float(str(declared["recheck_s"]))
    )
    conclude(evidence, problems, "kept as promised, not extractable", f"{facts}, declared {declared}")


def _tables_with(node: Node, text: str) -> tuple[list[str], list[str]]:
    """(tables that were looked into, those with a row that holds the text), as superuser."""
    with node.sql() as connection:
        names = [str(row[0]) for row in connection.execute(TABLES).fetchall()]
        hits = [
            name
            for name in names
            if connection.execute(
                f"select exists (select 1 from {name} t where strpos(t::text, %s) > 0)", (text,)
            ).fetchone()[0]
        ]
    return names, hits


@requirement("SEC-01", needs=(Capability.KEY_CUSTODY, Capability.FILE_ACCESS))
def test_neither_content_nor_data_key_lies_in_clear(deployment: Deployment, evidence: Evidence) -> None:
    """Canaries in properties, and the data keys themselves, are in no file, log or row of the node; a label is."""
    node = deployment.subject
    client = signed_in(node, "admin")
    canary, label = f"canary-{uuid.uuid4().hex}", f"label-{uuid.uuid4().hex}"
    near = create_entity(client, "custody", {"secret": canary}, labels=[label])
    far = create_entity(client, "custody", {"deep": [{"secret": canary}]})
    create_relationship(client, near["id"], far["id"], "beside", {"secret": canary})
    keys = deployment.custody(node.name).data_keys()
    assert keys, "no data key was found, though content was written: the control of this scan"
    secrets = {"content": canary.encode()} | {f"data key {n}": key for n, key in enumerate(keys)}
    places: dict[str, list[str]] = {}
    control: list[str] = []
    for path in node.files():
        if path.is_file() and path.stat().st_size <= LIMIT_BYTES:
            content = path.read_bytes()
            places[str(path)] = found_in(content, secrets)
            control += [str(path)] if label.encode() in content else []
    if Capability.SQL_AUDIT in deployment.capabilities and "postgres" in node.services:
        looked, hits = _tables_with(node, canary)
        places |= {name: ["content"] if name in hits else [] for name in looked}
        control += _tables_with(node, label)[1]
    evidence.add("places", len(places))
    evidence.add("control", control)
    conclude(
        evidence,
        judge_at_rest(places, control),
        "neither content nor key",
        f"{len(places)} files and tables, {len(keys)} data keys: nothing in clear; the label is in {len(control)}",
    )
