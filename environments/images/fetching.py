"""Inputs, fetched once and verified always: packages and jars over HTTP, wheels by pip (from the user's own index)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import urllib3

from environments.images import debian, store
from environments.images.errors import FetchError
from environments.images.lockfile import Input

PARALLEL = 8
PYTHON = "3.13"  # of the images (Debian trixie)
GLIBC = range(17, 42)  # minor versions of glibc 2 that wheels may ask for: trixie has 2.41
MAVEN = "https://repo1.maven.org/maven2"
GO_PROXY = "https://proxy.golang.org"
TIMEOUT = urllib3.Timeout(connect=20, read=60)
RETRIES = urllib3.Retry(total=4, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504), raise_on_status=False)

Told = Callable[[int], None]  # bytes that arrived


class Gone(FetchError):
    """The mirror does not have this file any more."""


def place(item: Input) -> Path:
    return store.folder("inputs") / item.sha256 / item.file


def have(item: Input) -> bool:
    path = place(item)
    return path.is_file() and path.stat().st_size == item.size_bytes


def address(item: Input) -> str:
    if item.kind == "deb":
        return f"{debian.mirror()}/{item.where}"
    if item.kind == "jar":
        return f"{os.environ.get('CONFORM_MAVEN_MIRROR', MAVEN).rstrip('/')}/{item.where}"
    proxies = [each for each in os.environ.get("GOPROXY", "").replace("|", ",").split(",") if each.startswith("http")]
    return f"{(proxies or [GO_PROXY])[0].rstrip('/')}/{item.where}"


def pool() -> urllib3.PoolManager | urllib3.ProxyManager:
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    authorities = os.environ.get("SSL_CERT_FILE")
    if proxy:
        return urllib3.ProxyManager(proxy, timeout=TIMEOUT, retries=RETRIES, ca_certs=authorities)
    return urllib3.PoolManager(timeout=TIMEOUT, retries=RETRIES, maxsize=PARALLEL, ca_certs=authorities)


def download(url: str, target: Path, told: Told = lambda _: None) -> None:
    """The file at `url`. Raises Gone (404, 410) or FetchError."""
    try:
        with pool().request("GET", url, preload_content=False) as answer, target.open("wb") as file:
            if answer.status in (404, 410):
                raise Gone(f"{url} is not there ({answer.status})")
            if answer.status != 200:
                raise FetchError(f"{url} answered {answer.status}. Check the mirror, or set another (docs/images.md)")
            for chunk in answer.stream(2**18):
                file.write(chunk)
                told(len(chunk))
    except urllib3.exceptions.HTTPError as error:
        remedy = "Check the connection, set a mirror (docs/images.md), or import an archive: conform images import"
        raise FetchError(f"{url} cannot be fetched: {_short(error)}. {remedy}") from None


def _short(error: Exception) -> str:
    return str(error).rpartition("Caused by ")[2][:200] or type(error).__name__


def fetch(item: Input, told: Told = lambda _: None) -> Path:
    """The verified file of one package, jar or toolchain."""
    path = place(item)
    if have(item):
        return path
    with store.scratch() as scratch:
        part = scratch / "file"
        download(address(item), part, told)
        _keep(item, part)
    return path


def _keep(item: Input, part: Path) -> None:
    digest = store.sha256_of(part)
    if digest != item.sha256:
        raise FetchError(
            f"{address(item) if item.kind != 'wheel' else item.file} is not what the lock says: sha256 {digest}, "
            f"expected {item.sha256}. Somebody changed it, or the mirror is broken: try another mirror"
        )
    path = place(item)
    path.parent.mkdir(exist_ok=True)
    part.replace(path)


def fetch_all(items: Iterable[Input], told: Told, gone: Callable[[Input], None]) -> None:
    """All of them, several at a time; `gone` is told of each that the mirror does not have."""
    missing = list(dict.fromkeys(item for item in items if not have(item)))
    wheels = [item for item in missing if item.kind == "wheel"]

    def one(item: Input) -> None:
        try:
            fetch(item, told)
        except Gone as error:
            if item.kind != "deb":
                raise FetchError(f"{error}. Set another mirror (docs/images.md)") from None
            gone(item)

    with ThreadPoolExecutor(PARALLEL) as workers:
        jobs = [workers.submit(fetch_wheels, wheels, told)] if wheels else []
        jobs += [workers.submit(one, item) for item in missing if item.kind != "wheel"]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def pip_platform() -> list[str]:
    """pip's options for the Python of the images."""
    tags = [f"manylinux_2_{minor}_x86_64" for minor in reversed(GLIBC)] + ["manylinux2014_x86_64"]
    options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON]
    return options + [part for tag in tags for part in ("--platform", tag)]


def pip_download(arguments: Sequence[str], target: Path) -> None:
    """Raises FetchError with pip's own last line."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    argv += [*pip_platform(), "--dest", str(target), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        said = lines[-1].removeprefix("ERROR: ")[:300] if lines else f"exit {done.returncode}"
        raise FetchError(f"pip could not fetch wheels: {said}. Check pip's index (pip config list)")


def fetch_wheels(items: Sequence[Input], told: Told = lambda _: None) -> None:
    """The verified wheels; pip finds them, so that an index of the user's own is used."""
    with store.scratch() as scratch:
        lines = [f"{item.name}=={item.version} --hash=sha256:{item.sha256}\n" for item in items]
        (scratch / "wheels.txt").write_text("".join(lines), encoding="utf-8")
        pip_download(["--no-deps", "--require-hashes", "-r", str(scratch / "wheels.txt")], scratch)
        for item in items:
            told(item.size_bytes)
            _keep(item, scratch / item.file)
