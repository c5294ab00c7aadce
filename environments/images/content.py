"""The layers of an image: its base, its inputs, and last what is ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from environments.images import code, deb, fetching, golang, layer, lockfile, recipe, store, wheels
from environments.images.errors import LockError
from environments.images.layer import Layer
from environments.images.lockfile import Input, Lock
from environments.images.recipe import Recipe
from environments.images.tree import Component, Tree

MAKERS = (
    "tree.py",
    "deb.py",
    "layer.py",
    "wheels.py",
    "golang.py",
    "content.py",
    "sbom.py",
    "code.py",
    "imageconfig.py",
)
USRMERGE = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
NOLOGIN = "/usr/sbin/nologin"
PROBE = recipe.GoSource(folder="probe", package=".", binary="usr/bin/probe")


def digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def makers_digest() -> str:
    """Over the modules that decide what is in an image: where they change, images are made anew."""
    return digest({name: store.sha256_of(lockfile.FOLDER / name) for name in MAKERS})


def inputs_digest(name: str, lock: Lock) -> str:
    """Hex sha256 over all that the image is a function of: lock, recipe, files of ours, our code where it goes in."""
    made = recipe.recipe(name)
    document = {
        "makers": makers_digest(),
        "created": lock.created,
        "recipe": made.model_dump(),
        "base": [item.sha256 for item in lock.bases[made.base]] if made.base else [],
        "base_recipe": recipe.bases()[made.base].model_dump() if made.base else {},
        "inputs": [item.sha256 for item in lock.images[name].inputs],
        "go": [golang.source_digest(source) for source in go_sources(made)],
        "toolchain": lock.toolchain.sha256,
        "files": {path: store.sha256_of(file) for path, file in recipe.own_files(name).items()},
        "code": code.sources_digest() if made.code else "",
    }
    return digest(document)


def go_sources(made: Recipe) -> list[recipe.GoSource]:
    """The programs of an image; the health check's probe where it is asked for."""
    return [*made.go, PROBE] if made.health.test[1:2] == [f"/{PROBE.binary}"] else made.go


def layers(name: str, lock: Lock, replaced: Mapping[Input, Input]) -> list[Layer]:
    """The layers, lowest first. `replaced`: packages taken instead of pinned ones that no mirror has any more."""
    made = recipe.recipe(name)
    found = []
    if made.base:
        found.append(_base_layer(made.base, lock, replaced))
    locked = [replaced.get(item, item) for item in lock.images[name].inputs]
    if locked or go_sources(made) or made.model:
        found.append(_inputs_layer(name, made, lock, locked, found))
    key = digest([makers_digest(), "own", name, [each.diff_id for each in found], inputs_digest(name, lock)])
    found.append(layer.cached(key, f"{name}: ours", lambda: _own_tree(name, made, lock, found)))
    return found


def component(item: Input) -> Component:
    """Whom its files belong to, with its package URL."""
    if item.kind == "deb":
        purl = f"pkg:deb/debian/{item.name}@{item.version.replace(':', '%3A').replace('+', '%2B')}"
        return Component("deb", item.name, item.version, f"{purl}?arch=amd64&distro={item.suite}", item.sha256)
    if item.kind == "wheel":
        return Component("wheel", item.name, item.version, f"pkg:pypi/{item.name}@{item.version}", item.sha256)
    group, _, artifact = item.name.partition(":")
    return Component("jar", item.name, item.version, f"pkg:maven/{group}/{artifact}@{item.version}", item.sha256)


def _base_layer(name: str, lock: Lock, replaced: Mapping[Input, Input]) -> Layer:
    base = recipe.bases()[name]
    items = [replaced.get(item, item) for item in lock.bases[name]]

    def make() -> Tree:
        tree = Tree()
        for item in items:
            tree.update(deb.unpack(fetching.place(item), component(item)).without(base.omit))
        owner = _ours(f"base-{name}")
        for path, target in USRMERGE.items():
            tree.entries.pop(path, None)
            tree.link(path, target, owner)
        for path in ("tmp", "run", "var/tmp", "proc", "sys", "dev"):
            tree.folder(path, owner, 0o1777 if path.endswith("tmp") else 0o755)
        return tree

    key = digest([makers_digest(), "base", [item.sha256 for item in items], base.model_dump()])
    return layer.cached(key, f"{name}: base packages of Debian", make)


def _inputs_layer(name: str, made: Recipe, lock: Lock, items: list[Input], below: list[Layer]) -> Layer:
    sources = go_sources(made)
    omit = [*(recipe.bases()[made.base].omit if made.base else []), *made.omit]

    def make() -> Tree:
        tree = Tree()
        for item in items:
            tree.update(_unpacked(item, made).without(omit))
        if made.bytecode:
            tree.update(wheels.compiled(tree, below))
        for source in sources:
            tree.update(_built(source, lock))
        if made.model:
            tree.update(_model(made.model))
        for path, target in made.links.items():
            tree.link(path, target, _ours(name))
        return tree

    document: list[Any] = [makers_digest(), "inputs", [item.sha256 for item in items], [each.diff_id for each in below]]
    document += [[golang.source_digest(each) for each in sources], lock.toolchain.sha256, omit, made.model_dump()]
    return layer.cached(digest(document), f"{name}: packages", make)


def _unpacked(item: Input, made: Recipe) -> Tree:
    path, owner = fetching.place(item), component(item)
    if item.kind == "deb":
        return deb.unpack(path, owner)
    if item.kind == "wheel":
        return wheels.unpack(path, owner, made.wheel_target)
    tree = Tree()
    tree.file(f"opt/{made.user}/lib/{item.file}", path, owner)
    return tree


def _built(source: recipe.GoSource, lock: Lock) -> Tree:
    go = golang.toolchain(lock.toolchain)
    tree = Tree()
    with store.scratch() as scratch:
        golang.build(source, go, scratch / "program")
        data = (scratch / "program").read_bytes()
        parts = golang.modules(scratch / "program", go)
    path, _, version = golang.main_module(source).partition("@")
    version = version or suite_version()
    owner = Component("go", path, version, f"pkg:golang/{path}@{version}", hashlib.sha256(data).hexdigest())
    tree.file(source.binary, data, owner, 0o755)
    tree.parts = [part for part in parts if part.name != path]
    return tree


def _model(path: str) -> Tree:
    from environments.images import model  # what builds other images does without its libraries

    tree = Tree()
    with store.scratch() as scratch:
        model.write(scratch / "model")
        data = (scratch / "model").read_bytes()
    digest_ = hashlib.sha256(data).hexdigest()
    version_ = digest_[:12]
    tree.file(
        path, data, Component("model", "companyos-tiny", version_, f"pkg:generic/companyos-tiny@{version_}", digest_)
    )
    tree.facts["model_sha256"] = digest_
    return tree


def version(name: str, lock: Lock, replaced: Mapping[Input, Input]) -> str:
    """The image's version: of the input, or of the Go module, that its recipe names."""
    made = recipe.recipe(name)
    if made.version_of == "suite":
        return suite_version()
    if made.version_of == "companyos":
        return code.version()
    for item in lock.images[name].inputs:
        if item.name == made.version_of:
            return replaced.get(item, item).version
    for each in lock.images[name].go:
        if each.module.startswith(f"{made.version_of}@"):
            return each.module.partition("@")[2].removeprefix("v")
    raise LockError(f"{name}/image.yaml: version_of: no input is called {made.version_of!r}. Correct the recipe")


def suite_version() -> str:
    import importlib.metadata

    return importlib.metadata.version("companyos-conform")


def _ours(name: str) -> Component:
    version = suite_version()
    return Component("file", f"companyos-conform-{name}", version, f"pkg:generic/companyos-conform-{name}@{version}")


def _own_tree(name: str, made: Recipe, lock: Lock, below: list[Layer]) -> Tree:
    owner = _ours(name)
    tree = Tree()
    for path, text in _accounts(made).items():
        tree.file(path, text.encode(), owner)
    for folder in made.folders:
        tree.folder(folder.path, owner, int(folder.mode, 8), made.uid)
    for path, file in recipe.own_files(name).items():
        tree.file(path, file.read_bytes(), owner, 0o755 if file.stat().st_mode & 0o100 else 0o644)
    if made.code:
        tree.update(code.tree())
        tree.update(wheels.compiled(tree, below))
        tree.facts["payload_sha256"] = code.payload(tree)
        tree.file(code.RELEASE, code.release(tree.facts["payload_sha256"]), owner)
    from environments.images import sbom  # what only reads the manifest does without its library

    tree.file(f"usr/share/sbom/{name}.cdx.json", sbom.document(name, made.title, tree, below, lock.created), owner)
    return tree


def _accounts(made: Recipe) -> dict[str, str]:
    return {
        "etc/passwd": f"root:x:0:0::/:{NOLOGIN}\n{made.user}:x:{made.uid}:{made.uid}::{made.home}:{NOLOGIN}\n",
        "etc/group": f"root:x:0:\n{made.user}:x:{made.uid}:\n",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
