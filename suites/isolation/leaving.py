"""What is left of a tenant that was removed: judges over answers, rows and files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments.contract import Response, vacuous
from suites.exchange import shown
from suites.isolation.scan import found_in

# A hash chain of who did what on the node, with ids and names of accounts and without content, stays: it tells of the
# removal too (docs/contract.md, Tenants). Content in it would be found all the same.
STAYS = "public.audit"

TABLES = """
select n.nspname || '.' || c.relname as name, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as quoted
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
  and n.nspname not like 'pg_toast%' order by 1"""


@dataclass
class Scan:
    """Rows and files that hold a mark: table or path -> names of the marks."""

    tables: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    looked_at: int = 0


def scan_tables(connection: Any, content: Mapping[str, str], names: Mapping[str, str]) -> Scan:
    """`content`: marks that no table may hold once the tenant is gone; `names`: those that the audit log keeps."""
    scan = Scan()
    with connection.cursor() as cursor:
        for name, quoted in cursor.execute(TABLES).fetchall():
            scan.looked_at += 1
            wanted = content if name == STAYS else {**content, **names}
            for what, text in wanted.items():
                # The whole row as text: a column that somebody adds tomorrow is looked at too.
                sql = f"select count(*) from {quoted} as t where strpos(lower(t::text), lower(%s)) > 0"
                if cursor.execute(sql, (text,)).fetchone()[0]:
                    scan.tables.setdefault(name, []).append(what)
    return scan


def scan_files(paths: Iterable[Path], marks: Mapping[str, str], places: Mapping[str, str]) -> Scan:
    """`marks` in the bytes of files, in any of the encodings; `places` in their paths."""
    scan = Scan()
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError:  # gone meanwhile
            continue
        scan.looked_at += 1
        found = [what for what, text in marks.items() if found_in(text, content)]
        found += [what for what, text in places.items() if text in str(path)]
        if found:
            scan.files["/".join(path.parts[-3:])] = found
    return scan


def judge_tables(before: Scan, after: Scan, least: int) -> list[str]:
    """No table holds anything any more; before, at least `least` did, or the scan was blind."""
    if not before.tables or not after.looked_at or len(before.tables) < least:
        vacuous(f"the scan saw the tenant in {sorted(before.tables)} only, before it was removed")
    return [f"table {name} still holds {', '.join(what)}" for name, what in sorted(after.tables.items())]


def judge_files(before: Scan, after: Scan) -> list[str]:
    if not before.files:
        vacuous(f"no file told of the tenant before it was removed ({before.looked_at} looked at): the scan was blind")
    return [f"file {name} still holds {', '.join(what)}" for name, what in sorted(after.files.items())]


def judge_sight(views: Mapping[str, Response], marks: Mapping[str, str], but: Sequence[str] = ()) -> list[str]:
    """The control: every view shows its own tenant something of what it has."""
    if not views:
        vacuous("nothing was looked at")
    return [
        f"{name} does not show the tenant its own objects: {shown(answer)}"
        for name, answer in views.items()
        if name not in but and not any(found_in(text, answer.body) for text in marks.values())
    ]


def judge_nothing_seen(views: Mapping[str, Response], marks: Mapping[str, str]) -> list[str]:
    """No view of the tenant that has the name now shows anything of the one that had it."""
    if not views:
        vacuous("nothing was looked at")
    return [
        f"{name} of the re-created tenant shows {what} ({form})"
        for name, answer in views.items()
        for what, text in marks.items()
        if (form := found_in(text, answer.body))
    ]


def judge_counts(usage: Mapping[str, Any], events: Mapping[str, Any]) -> list[str]:
    """A tenant that begins has counted nothing: numbers tell of what was there as objects do."""
    if not usage or not events:
        vacuous("no usage or no events were told")
    counted = {**usage.get("objects", {}), **usage.get("metered", {})}
    counted.pop("seats", None)  # metered once a day, of a new tenant too
    problems = [f"usage of the re-created tenant counts {count} {what}" for what, count in counted.items() if count]
    if usage.get("seats") != 1:
        problems.append(f"usage of the re-created tenant counts {usage.get('seats')} seats, it has one account")
    if events.get("events") or events.get("next"):
        problems.append(f"events of the re-created tenant begin at {events.get('next')}: {events.get('events')}")
    return problems


def judge_shut_out(answers: Mapping[str, Response]) -> list[str]:
    """Every answer to a token or a password of a tenant that is removed is UNAUTHENTICATED."""
    if not answers:
        vacuous("nothing was asked")
    return [
        f"{what}: {shown(answer, 120)}, not 401 UNAUTHENTICATED"
        for what, answer in answers.items()
        if (answer.status, answer.error_code) != (401, "UNAUTHENTICATED")
    ]


def judge_written(scan: Scan, controls: Set[str], logs: Mapping[str, str], marks: Mapping[str, str]) -> list[str]:
    """No file and no log of a service holds a mark; the controls were all seen, and something was logged."""
    seen = {what for found in scan.files.values() for what in found}
    problems = [
        f"file {name} holds {what}"
        for name, found in sorted(scan.files.items())
        for what in found
        if what not in controls
    ]
    problems += [
        f"the log of {service} holds {what} ({form})"
        for service, text in logs.items()
        for what, mark in marks.items()
        if (form := found_in(mark, text.encode()))
    ]
    if problems:
        return problems
    if not controls <= seen:
        vacuous(f"not seen in any of {scan.looked_at} files: {sorted(controls - seen)}; the scan was blind")
    if not any(logs.values()):
        vacuous("no service has logged anything")
    return problems
