"""Links, asked against measured: the table of docs/links-measured.md, made by

    python -m benchmarks.network --presets --write docs/links-measured.md

Without --presets the targets only (two minutes); with it every preset of profiles/links.yaml too (fifteen minutes).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.linkbench import LINK, cpu_s, drops, echo_s, flood, network, rows_of
from benchmarks.peers import netem_rows, stream_rows
from conform.linktable import figure
from environments.contract import Calibration, LinkState
from environments.network.calibration import FULL
from environments.network.proving import prove

Row = tuple[str, str, str, str]  # measure, asked, measured, target
ROUND_TRIPS_S = (0.001, 0.010, 0.100, 1.0, 3.0)
RATES_BPS = (9.6e3, 64e3, 1e6, 10e6, 100e6)
LOSSES = (LinkState(loss=0.02), LinkState(loss=0.1, burst=3), LinkState(loss=0.2, burst=5))
CHANGES, CHANGE_GAP_S = 100, 0.02
IDLE_S = 10.0


def idle_round_trip() -> Iterator[Row]:
    with network(LinkState()) as started:
        echo_s(started, 200)
        trips = sorted(echo_s(started, 5000))
    p50_s, p99_s = trips[len(trips) // 2], trips[len(trips) * 99 // 100]
    yield "round trip, idle, p50", "0 ms", f"{p50_s * 1e3:.2f} ms", "0.25 ms"
    yield "round trip, idle, p99", "0 ms", f"{p99_s * 1e3:.2f} ms", "1 ms"


def round_trips() -> Iterator[Row]:
    for asked_s in ROUND_TRIPS_S:
        with network(LinkState(delay_s=asked_s / 2)) as started:
            count = max(5, min(200, int(3 / asked_s)))
            measured_s = statistics.median(echo_s(started, count))
        off_s, asked = measured_s - asked_s, f"{asked_s * 1e3:g} ms"
        off = f"{off_s / asked_s:+.2%}, {off_s * 1e3:+.2f} ms"
        yield f"round trip of {asked}", asked, f"{measured_s * 1e3:.2f} ms ({off})", "1 % or 0.5 ms"


def rates() -> Iterator[Row]:
    for asked_bps in RATES_BPS:
        state = LinkState(rate_bps=asked_bps, queue_s=30)
        [row] = [row for row in rows_of(state, FULL) if row.measure == "rate_bps" and row.link == ">".join(LINK)]
        measured = f"{figure('rate_bps', row.measured)} ({row.measured / row.asked - 1:+.2%})"
        yield "rate of IP bytes", figure("rate_bps", asked_bps), measured, "2 %"


def losses() -> Iterator[Row]:
    for state in LOSSES:
        rows = {row.measure: row for row in rows_of(state, FULL) if row.link == ">".join(LINK)}
        loss, burst = rows["loss"], rows["burst"]
        asked = f"{state.loss:.0%}" + (f" in runs of {state.burst:g}" if state.burst else ", independent")
        between = f"{loss.asked - loss.tolerance:.2%} to {loss.asked + loss.tolerance:.2%}"
        yield f"loss, {loss.samples} packets", asked, f"{loss.measured:.2%}", f"99 % interval, {between}"
        runs = f"{burst.measured:.2f} ({burst.measured / burst.asked - 1:+.1%}, {burst.samples} runs)"
        yield "mean run of losses", f"{burst.asked:.2f} packets", runs, "10 %"


def changes() -> Iterator[Row]:
    with network(LinkState()) as started:
        one_way = {"a": LINK[0], "b": LINK[1], "both": False}
        events = [
            {"at_s": 0.1 + number * CHANGE_GAP_S, **one_way, "state": {"delay_s": number / 1e3}}
            for number in range(CHANGES)
        ]
        began_s = started.play("benchmark", events) + time.time() - time.monotonic()
        while started.playing():
            time.sleep(0.05)
        rows = [row for row in started.ask("timeline")["rows"] if row["reason"].startswith("benchmark")]
    late_s = sorted(row["t_s"] - began_s - event["at_s"] for row, event in zip(rows, events, strict=True))
    measured = f"p50 {late_s[len(late_s) // 2] * 1e3:.2f} ms, worst {late_s[-1] * 1e3:.2f} ms late"
    yield f"scheduled change against actual, {CHANGES} changes", "0 ms", measured, "10 ms"


FLOODS = ((1500, 400_000_000, "1 Gbit/s, 100 000 packets/s"), (65_000, 2_000_000_000, "4 Gbit/s"))  # MTU, bytes, target


def throughput() -> Iterator[Row]:
    for mtu_bytes, size, target in FLOODS:
        with network(LinkState(), mtu_bytes=mtu_bytes) as started:
            flood(started, size // 10)
            middle = sorted(flood(started, size) for _ in range(3))[1]
        measured = f"{middle[0] / 1e9:.2f} Gbit/s, {middle[1]:.0f} packets/s"
        yield f"TCP through one link, MTU {mtu_bytes}", "no limit", measured, target


def idle_cost() -> Iterator[Row]:
    with network(LinkState(delay_s=0.1, rate_bps=2e6), sites=11) as started:
        router = psutil.Process(started.ask("show")["pid"])
        before_s = cpu_s(router)
        time.sleep(IDLE_S)
        share = (cpu_s(router) - before_s) / IDLE_S
    yield "router while idle, ten links", "nothing", f"{share:.2%} of a core", "1 %"


def repetition() -> Iterator[Row]:
    state = LinkState(loss=0.1, burst=3)
    one, two, other = (drops(state, seed, 20_000) for seed in (7, 7, 8))
    same = "the same" if one == two else f"{len(one ^ two)} differ"
    measured = f"{same} {len(one)} drops; another seed: {len(other)}, {len(other & one)} of them the same"
    yield "same seed, same 20 000 packets", "same drops", measured, "bit for bit"


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (
    idle_round_trip,
    round_trips,
    rates,
    losses,
    changes,
    throughput,
    idle_cost,
    repetition,
)


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
        sys.stderr.write(f"  {' | '.join(row)}\n")
    yield ""


def preset_rows() -> Iterator[Sequence[str]]:
    from profiles.load import presets

    for name, preset in presets().items():
        began_s = time.monotonic()
        rows = prove(*preset.states)
        took = f"{time.monotonic() - began_s:.0f} s"
        for row in rows:
            yield (name if row is rows[0] else "", row.link, *_figures(row), took if row is rows[0] else "")


def _figures(row: Calibration) -> tuple[str, ...]:
    interval = ""
    if row.low is not None and row.high is not None:
        interval = f" ({figure(row.measure, row.low)} to {figure(row.measure, row.high)})"
    asked, measured, tolerance = (figure(row.measure, value) for value in (row.asked, row.measured, row.tolerance))
    return row.measure, asked, measured + interval, f"{tolerance}, {row.samples}", "yes" if row.ok else "NO"


def document(with_presets: bool) -> Iterator[str]:
    yield "# Links, asked against measured\n"
    yield "Made by `python -m benchmarks.network --presets --write docs/links-measured.md`; not edited by hand.\n"
    cores, load = os.cpu_count(), os.getloadavg()[0]
    versions = f"Python {platform.python_version()}, Linux {platform.release().partition('-')[0]}"
    yield f"{datetime.now(UTC).date()}, {versions}, {cores} cores, load {load:.1f} at the start.\n"
    yield "## The router against its targets\n"
    measured = (row for measure in MEASURES for row in measure())
    yield from table(("measure", "asked", "measured", "target"), measured)
    yield "## Beside it, in the same run\n"
    yield from table(("what", "asked", "measured", "remark"), chain(stream_rows(), netem_rows()))
    if with_presets:
        yield "## Every preset\n"
        yield "Both directions and the round trip, by `conform link calibrate`; in brackets the 99 % interval.\n"
        head = ("preset", "link", "measure", "asked", "measured", "tolerance, samples", "ok", "took")
        yield from table(head, preset_rows())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", action="store_true", help="every preset of profiles/links.yaml too")
    parser.add_argument("--write", type=Path, help="the file to write; default: standard output")
    options = parser.parse_args()
    text = "\n".join(document(options.presets))
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
