"""The image's health check: the role that process 1 serves answers /healthz. No shell, and no library beyond Python."""

import json
import socket
import sys

TIMEOUT_S = 4.0


def argument(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def main() -> int:
    with open("/proc/1/cmdline", "rb") as file:  # noqa: PTH123 pathlib costs half of this program's time
        argv = file.read().decode().split("\0")
    with open(argument(argv, "--config"), encoding="utf-8") as file:  # noqa: PTH123
        port = json.load(file)["ports"][argument(argv, "--role")]
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        status = connection.recv(64).split(b" ", 2)
    return 0 if status[1:2] == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
