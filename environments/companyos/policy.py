"""Policy decisions by Rego, compiled once per revision. Anything that is not a clear yes is a no."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.companyos import log, rego_lint
from environments.companyos.clock import Clock

if TYPE_CHECKING:
    from regopy import Bundle, Interpreter

ENTRYPOINT = "companyos/authz/allow"
PROBE: Mapping[str, Any] = {"subject": {"sub": "", "tenant": "", "roles": []}, "action": "", "resource": {}}
DEFAULT = Path(__file__).parent / "policies" / "authz.rego"


class PolicyError(Exception):
    """The modules cannot become a policy; the message says why."""


class PolicyAway(Exception):
    """There is nothing to ask: no decision was made. The message says why."""


Compiled = tuple["Interpreter", "Bundle"]


def compile_modules(modules: Mapping[str, str]) -> Bundle:
    from regopy import Interpreter, RegoError

    if found := rego_lint.problems(modules):
        raise PolicyError("; ".join(found[:5]))
    interpreter = Interpreter()
    try:
        for name, source in modules.items():
            interpreter.add_module(name, source)
        return interpreter.build(None, [ENTRYPOINT])
    except RegoError as error:
        raise PolicyError("the modules do not compile") from error


def prepare(modules: Mapping[str, str]) -> Compiled:
    """Compile, and try once. Raises PolicyError."""
    from regopy import Interpreter

    if not modules or not all(isinstance(text, str) for text in modules.values()):
        raise PolicyError("a policy has modules of text")
    bundle, interpreter = compile_modules(modules), Interpreter()
    try:
        evaluate(interpreter, bundle, PROBE)
    except Exception as error:
        raise PolicyError("the modules do not evaluate") from error
    return interpreter, bundle


def evaluate(interpreter: Interpreter, bundle: Bundle, document: Mapping[str, Any]) -> bool:
    """True only if the entry point is exactly `true`."""
    interpreter.set_input(dict(document))
    output = interpreter.query_bundle_entrypoint(bundle, ENTRYPOINT)
    if not output.ok() or len(output.results) != 1:
        return False
    expressions = output.results[0].expressions
    return len(expressions) == 1 and expressions[0] is True


def default() -> tuple[str, str]:
    """(text, SHA-256) of the policy that is shipped with the release."""
    source = DEFAULT.read_text()
    return source, hashlib.sha256(source.encode()).hexdigest()


class PolicyEngine:
    """One compiled policy at a time, swapped whole. An error in a decision is a deny."""

    kind = "rego"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.revision = -1
        self.digest = ""
        self.shipped = ""  # digest of the policy that came with the release, in force or not
        self.loaded_at = 0.0  # seconds since the epoch, node's clock
        self.last_error: str | None = None
        self._lock = threading.Lock()  # the interpreter is not for two threads at once
        self._compiled: Compiled | None = None
        self.live = False  # the node has started: what is loaded from now on comes from its control plane

    @property
    def loaded(self) -> bool:
        return self._compiled is not None

    def load(self, modules: Mapping[str, str], revision: int, digest: str, signature: str | None = None) -> None:
        """Compile, try once, then swap. PolicyError leaves the policy in force as it is. signature: of its bundle, for
        a policy server."""
        self.swap(prepare(modules), revision, digest)

    def swap(self, compiled: Compiled, revision: int, digest: str) -> None:
        with self._lock:
            self._compiled = compiled
            self.revision, self.digest, self.loaded_at = revision, digest, self.clock.now()
            self.last_error = None
        log.info("policy loaded", revision=revision, digest=digest)

    def load_default(self) -> None:
        """The policy shipped with the release, revision 0: in force until a signed one arrives."""
        source, digest = default()
        self.load({"authz.rego": source}, 0, digest, self.shipped_signature())
        self.shipped = digest

    def shipped_signature(self) -> str | None:
        """The vendor's, of the shipped policy's bundle."""
        return None

    def check(self) -> tuple[bool, str]:
        """Whether decisions can be made, and by which policy, or why not. Raises nothing."""
        return self.loaded, f"revision {self.revision}"

    def decide(self, document: Mapping[str, Any]) -> bool:
        """Not cached: a policy may depend on anything in its input and on time, and a decision takes 0.1 ms. PolicyAway
        where decisions are made elsewhere and nobody answers; nothing else is raised."""
        try:
            with self._lock:
                if self._compiled is None:
                    return False
                return evaluate(*self._compiled, document)
        except Exception as error:
            self.last_error = f"POLICY_EVALUATION: {type(error).__name__}"
            return False
