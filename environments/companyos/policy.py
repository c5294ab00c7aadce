"""Policy decisions by Rego, compiled once per revision. Anything that is not a clear yes is a no."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.companyos import log
from environments.companyos.clock import Clock

if TYPE_CHECKING:
    from regopy import Bundle, Interpreter

ENTRYPOINT = "companyos/authz/allow"
DEFAULT = Path(__file__).parent / "policies" / "authz.rego"
_CALL = re.compile(r"\b([a-z_][\w]*(?:\.[a-z_]\w*)*)\s*\(")
# rego-cpp calls these builtins, yet evaluates them to undefined without an error: `not f(..)` would become true.
_BROKEN = {"time.parse_rfc3339_ns"}


class PolicyError(Exception):
    """The modules cannot become a policy; the message says why."""


def unknown_calls(interpreter: Interpreter, source: str) -> list[str]:
    """Dotted functions the engine lacks. It evaluates them to undefined without an error, so they are refused first."""
    text = re.sub(r'"(?:\\.|[^"\\])*"|`[^`]*`|#[^\n]*', "", source)
    names = {name for name in _CALL.findall(text) if "." in name and not name.startswith(("data.", "input."))}
    return sorted(name for name in names if name in _BROKEN or not interpreter.is_builtin(name))


def compile_modules(modules: Mapping[str, str]) -> Bundle:
    from regopy import Interpreter, RegoError

    interpreter = Interpreter()
    try:
        for name, source in modules.items():
            if missing := unknown_calls(interpreter, source):
                raise PolicyError(f"{name}: unknown functions {', '.join(missing)}")
            interpreter.add_module(name, source)
        return interpreter.build(None, [ENTRYPOINT])
    except RegoError as error:
        raise PolicyError("the modules do not compile") from error


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
    """One compiled policy at a time, swapped whole. `decide` never raises: an error is a deny."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.revision = -1
        self.digest = ""
        self.shipped = ""  # digest of the policy that came with the release, in force or not
        self.loaded_at = 0.0  # seconds since the epoch, node's clock
        self.last_error: str | None = None
        self._lock = threading.Lock()  # the interpreter is not for two threads at once
        self._compiled: tuple[Interpreter, Bundle] | None = None

    @property
    def loaded(self) -> bool:
        return self._compiled is not None

    def load(self, modules: Mapping[str, str], revision: int, digest: str) -> None:
        """Compile, try once, then swap. PolicyError leaves the policy in force as it is."""
        from regopy import Interpreter

        if not modules or not all(isinstance(text, str) for text in modules.values()):
            raise PolicyError("a policy has modules of text")
        bundle, interpreter = compile_modules(modules), Interpreter()
        try:
            evaluate(
                interpreter, bundle, {"subject": {"sub": "", "tenant": "", "roles": []}, "action": "", "resource": {}}
            )
        except Exception as error:
            raise PolicyError("the modules do not evaluate") from error
        with self._lock:
            self._compiled = (interpreter, bundle)
            self.revision, self.digest, self.loaded_at = revision, digest, self.clock.now()
            self.last_error = None
        log.info("policy loaded", revision=revision, digest=digest)

    def load_default(self) -> None:
        """The policy shipped with the release, revision 0: in force until a signed one arrives."""
        source, digest = default()
        self.load({"authz.rego": source}, 0, digest)
        self.shipped = digest

    def decide(self, document: Mapping[str, Any]) -> bool:
        """Not cached: a policy may depend on anything in its input and on time, and a decision takes 0.1 ms."""
        try:
            with self._lock:
                if self._compiled is None:
                    return False
                return evaluate(*self._compiled, document)
        except Exception as error:
            self.last_error = f"POLICY_EVALUATION: {type(error).__name__}"
            return False
