"""Prints what a no-op call costs between host and runtime, without sandbox (`pytest -s`); no limit is enforced here."""

import json
import statistics
import time

from host import END, HEADER, RESPONSE, invoke_frames

CALLS = 5_000
WARM_UP = 500


def test_no_op_calls(runtime):
    body = json.dumps({"do": "echo"}).encode()
    durations = []
    with runtime.suite() as host:
        for number in range(1, WARM_UP + CALLS + 1):
            (frame,) = invoke_frames(number, body)
            start = time.perf_counter()
            host.socket.sendall(frame)
            answer = host.socket.recv(65_536)
            durations.append(time.perf_counter() - start)
            _, kind, flags, _, call, _ = HEADER.unpack_from(answer)
            assert (kind, flags, call) == (RESPONSE, END, number)
    durations = [duration * 1e6 for duration in durations[WARM_UP:]]
    cuts = statistics.quantiles(durations, n=100)
    print(f"\n{runtime}: p50 {cuts[49]:.1f} us, p90 {cuts[89]:.1f} us, p99 {cuts[98]:.1f} us over {CALLS} calls")
