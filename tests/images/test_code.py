"""The payload digest says which code is in an image: all of it, and as `sha256sum` would say it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from environments.images import code, content, lockfile, recipe


def test_the_digest_is_that_of_sha256sum_lines(tmp_path: Path) -> None:
    files = {"opt/companyos/b": b"2", "opt/companyos/a/c": b"1"}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    said = subprocess.run(
        ["sha256sum", *sorted(files)], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert code.digest_of(files) == hashlib.sha256(said.replace("  ", "  /").encode()).hexdigest()


def test_the_services_are_there_and_the_vendor_is_not() -> None:
    paths = set(code.sources())
    assert {"opt/companyos/environments/companyos/serve.py", "opt/companyos/environments/__init__.py"} <= paths
    assert not [path for path in paths if path.endswith(("vendor.py", ".pyc")) or "contract" in path]


def test_any_change_of_our_code_makes_another_image(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    lock = lockfile.load()
    before = {name: content.inputs_digest(name, lock) for name in ("companyos", "tpm")}
    files = code.sources()
    some = next(path for path in files if path.endswith("policy.py"))
    monkeypatch.setattr(code, "sources", lambda: {path: file for path, file in files.items() if path != some})
    after = {name: content.inputs_digest(name, lock) for name in before}
    assert before["companyos"] != after["companyos"]
    assert before["tpm"] == after["tpm"]


def test_a_change_of_a_recipe_makes_another_image(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    lock = lockfile.load()
    before = content.inputs_digest("tpm", lock)
    changed = recipe.recipe("tpm").model_copy(update={"command": []})
    monkeypatch.setattr(recipe, "recipe", lambda name: changed)
    assert content.inputs_digest("tpm", lock) != before


def test_the_release_file_names_the_payload() -> None:
    document = json.loads(code.release("a" * 64))
    assert document == {
        "product": "companyos",
        "version": code.version(),
        "payload_sha256": "a" * 64,
        "payload_root": "/opt/companyos",
    }
