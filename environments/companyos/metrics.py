"""Prometheus metrics of one process. Labels are actions, codes and roles; never tenants, users or ids."""

from __future__ import annotations

from typing import Any


class Metrics:
    """Imports prometheus_client when first asked for text, so that an edge that nobody scrapes does not carry it."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], float] = {}

    def count(self, name: str, label: str = "", by: float = 1) -> None:
        key = (name, label)
        self._counts[key] = self._counts.get(key, 0) + by

    def denied(self, action: str) -> None:
        self.count("companyos_policy_denied", action)

    def request(self, status: int) -> None:
        self.count("companyos_http_requests", f"{status // 100}xx")

    def text(self, gauges: dict[str, float]) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts = dict(self._counts)

        class Collector:
            def collect(self) -> Any:
                families: dict[str, CounterMetricFamily] = {}
                for (name, label), value in sorted(counts.items()):
                    family = families.setdefault(name, CounterMetricFamily(name, name, labels=["what"]))
                    family.add_metric([label], value)
                yield from families.values()
                for name, value in gauges.items():
                    yield GaugeMetricFamily(name, name, value=value)

        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector())
        return bytes(generate_latest(registry))
