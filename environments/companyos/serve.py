"""Run one service of a node: `python -m environments.companyos.serve --config node.json --role control|data|edge`."""

from __future__ import annotations

import argparse
import logging
import socket
import warnings
from pathlib import Path

import uvicorn

from environments.companyos import apps, defects, log
from environments.companyos.config import NodeConfig


def sockets(config: NodeConfig, role: str) -> list[socket.socket]:
    """The role's port on the site's address, and on loopback for the site's own use. Nothing else listens."""
    found = []
    for address in dict.fromkeys((config.listen, "127.0.0.1")):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        # asyncio switches Nagle's delay off only where the protocol is named; without it each answer costs 40 ms
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, config.ports[role]))
        found.append(bound)
    return found


def quiet() -> None:
    """Libraries neither log request values nor warn: lines on stderr are ours."""
    warnings.simplefilter("ignore")
    root = logging.getLogger()
    root.addHandler(logging.NullHandler())
    root.setLevel(logging.CRITICAL)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--role", choices=("control", "data", "edge"), required=True)
    options = parser.parse_args(arguments)
    config = NodeConfig.model_validate_json(options.config.read_bytes())
    quiet()
    log.configure(config.log_level, node=config.node_id, role=options.role)
    services = apps.build_services(config, options.role)
    defects.apply(config.defects, "service", config.mode, options.role, services)
    apps.start_background(services)
    server = uvicorn.Server(
        uvicorn.Config(
            apps.create_app(services),
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )
    services.ending = lambda: server.should_exit
    log.info("serving", port=config.ports[options.role])
    try:
        server.run(sockets=sockets(config, options.role))
    finally:
        services.graph.close()
        services.store.close()


if __name__ == "__main__":
    main()
