"""SEC-01: what could be read while the key was withdrawn, and what lies in clear on a disk."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from environments.contract import Response, TransportError, vacuous

LONGEST_S = 60.0  # no node may go on longer than this with a key that was withdrawn, whatever it declares
KINDS: Mapping[str, frozenset[str]] = {  # strategy document, section 3: key management
    "B": frozenset({"file", "pkcs11"}),  # vendor, or the customer's own
    "Ct": frozenset({"pkcs11"}),  # the customer's HSM
    "Ca": frozenset({"pkcs11"}),
    "D": frozenset({"tpm", "file"}),  # TPM or local
}


@dataclass(frozen=True)
class Sample:
    """One attempt to reach sealed content."""

    phase: str  # before, withdrawn, restarted, restored
    channel: str  # entity, search, export, ...
    outcome: str  # content (it was read or written), refused (KEY_UNAVAILABLE), or what else came


def outcome(answer: Response | TransportError, canary: bytes) -> str:
    """`canary`: text that only content has; empty for an attempt that succeeds without giving content back."""
    if isinstance(answer, TransportError):
        return f"no answer ({answer.kind})"
    if canary and canary in answer.body:
        return "content"
    code = answer.error_code
    if code == "KEY_UNAVAILABLE":
        return "refused"
    if code is None and answer.status == 200:
        return "nothing" if canary else "content"
    return f"{answer.status} {code}"


def judge_withdrawal(samples: Sequence[Sample]) -> list[str]:
    """Content before and after, and while the key is withdrawn a refusal by name on every channel.

    Vacuous unless every channel was tried in each phase, and gave content before: else nothing was taken away."""
    channels = {sample.channel for sample in samples}
    tried = {(sample.phase, sample.channel) for sample in samples}
    phases = ("before", "withdrawn", "restarted", "restored")
    missing = [f"{phase}/{channel}" for phase in phases for channel in channels if (phase, channel) not in tried]
    unread = [s.channel for s in samples if s.phase == "before" and s.outcome != "content"]
    if not channels or missing or unread:
        vacuous(f"not tried: {missing or 'nothing'}; unreadable with its key: {unread or 'nothing'}")
    problems = []
    for sample in samples:
        wanted = "refused" if sample.phase in ("withdrawn", "restarted") else "content"
        if sample.outcome != wanted:
            problems.append(f"{sample.channel} ({sample.phase}): {sample.outcome}, not {wanted}")
    return list(dict.fromkeys(problems))


def judge_custody(mode: str, kind: str, claimed: str, extractable: bool, recheck_s: float) -> list[str]:
    """Kept by whom the strategy names, in hardware that does not hand it out, with a declared bound."""
    if not kind:
        vacuous("nobody was found to keep the key")
    problems = []
    if kind not in KINDS.get(mode, frozenset()):
        problems.append(f"mode {mode}: the key is kept by {kind}, promised is {sorted(KINDS.get(mode, ()))}")
    if claimed != kind:
        problems.append(f"discovery claims {claimed}, the key is kept by {kind}")
    if extractable and kind != "file":
        problems.append(f"the key can be taken out of the {kind}")
    if not 0 < recheck_s <= LONGEST_S:
        problems.append(f"the declared bound is {recheck_s} s, allowed are up to {LONGEST_S:g} s")
    return problems


def forms(secret: bytes) -> Iterator[bytes]:
    """As it is, and as it is usually written: hex, and base64 at each of its three alignments, with either alphabet."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret)
        inner = encoded[(shift * 8 + 5) // 6 :].rstrip(b"=")[:-1]  # its ends depend on what stands beside it
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def found_in(content: bytes, secrets: Mapping[str, bytes]) -> list[str]:
    """Labels of the secrets that `content` has in one of their forms."""
    return [label for label, secret in secrets.items() if any(form in content for form in forms(secret))]


def judge_at_rest(places: Mapping[str, Sequence[str]], control: Sequence[str]) -> list[str]:
    """`places`: file or table -> labels of the secrets found there; `control`: places where a text that is not sealed
    was found. Vacuous if nothing was looked at, or if not even the control was seen."""
    if not places or not control:
        vacuous(f"{len(places)} places looked at, the control was seen in {len(control)}")
    return [f"{place}: {label} in clear" for place, found in places.items() for label in found]
