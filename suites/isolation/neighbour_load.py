"""Locust's side of ISO-18: `python -m locust -f neighbour_load.py`. What it is told comes as JSON in NEIGHBOUR.

`{base, token, query, rate_per_user_s, out}`: every user posts `query` so often, and each answer becomes one line
`{t_s, elapsed_s, status}` of `out`; t_s is the time since the epoch at which the request began."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant_throughput, task

GIVEN: dict[str, Any] = json.loads(os.environ["NEIGHBOUR"])
OUT = Path(GIVEN["out"]).open("a", buffering=1)  # noqa: SIM115 - as long as the process


class Neighbour(FastHttpUser):
    host = GIVEN["base"]
    wait_time = constant_throughput(float(GIVEN["rate_per_user_s"]))
    connection_timeout = network_timeout = 20.0

    @task
    def ask(self) -> None:
        started_s, began_s = time.time(), time.monotonic()
        headers = {"Authorization": f"Bearer {GIVEN['token']}"}
        with self.client.post(
            "/graphql", json={"query": GIVEN["query"]}, headers=headers, catch_response=True, name="ask"
        ) as answer:
            answer.success()  # the check judges statuses
            line = {"t_s": started_s, "elapsed_s": time.monotonic() - began_s, "status": answer.status_code}
        OUT.write(json.dumps(line) + "\n")
