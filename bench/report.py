"""The table that people read, made of the raw figures."""

import stats

TITLES = {
    "raw": "node:http, bare (the floor)",
    "framework": "functions-framework",
    "framework_many": "functions-framework, as many processes as Warren had instances",
    "workerd": "workerd",
    "warren_route": "**Warren, route**",
    "warren_awslambdaric": "Warren, route, Python on awslambdaric",
    "warren_aws_lambda_ric": "Warren, route, Node.js on aws-lambda-ric",
    "warren_lambda_runtime": "Warren, route, Rust on lambda_runtime",
    "warren_lean": "Warren, signed Invoke (small client)",
    "warren_sdk": "Warren, signed Invoke (AWS SDK)",
}
CLIENT_BOUND = ("warren_lean", "warren_sdk")


def series(result, name, connections, member):
    return [one[member] for one in result["runs"] if one["server"] == name and one["connections"] == connections]


def ratio(result, ours, theirs, connections):
    a, b = series(result, ours, connections, "rate"), series(result, theirs, connections, "rate")
    if not a or not b or len(a) != len(b):
        return "-"
    ratios = stats.paired_ratios(a, b)
    low, high = stats.bootstrap_interval(ratios)
    return f"{stats.median(ratios):.2f} ({low:.2f}-{high:.2f})"


def throughput(result, connections):
    lines = [
        "| server | requests/s | p50 us | p95 us | p99 us | processes or instances | / functions-framework | / workerd | / floor |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, title in TITLES.items():
        rates = series(result, name, connections, "rate")
        if not rates:
            continue
        cells = [title, f"{stats.median(rates):,.0f}"]
        cells += [f"{stats.median(series(result, name, connections, p)):,.0f}" for p in ("p50_us", "p95_us", "p99_us")]
        instances = sorted(set(series(result, name, connections, "instances")))
        cells.append(str(instances[0]) if len(instances) == 1 else f"{instances[0]}-{instances[-1]}")
        for other in ("framework", "workerd", "raw"):
            cells.append("" if other == name or name in CLIENT_BOUND else ratio(result, name, other, connections))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def many(result, connections):
    """Warren against as many processes."""
    if not series(result, "framework_many", connections, "rate"):
        most = max(series(result, "warren_route", connections, "instances"))
        later = "" if most == 1 else f" In the rounds it used up to {most}; that comparison is missing here, run it again."
        return [f"Warren answered from one instance in the warm-up, so functions-framework was not run with more than one process.{later}"]
    text = ratio(result, "warren_route", "framework_many", connections)
    return [f"Warren's route / functions-framework with as many processes as Warren had instances: {text}."]


def hops(result):
    rows = [one for one in result["runs"] if one["server"] == "warren_route" and one["connections"] == 1 and one.get("report_us")]
    if not rows:
        return []
    floor = stats.median(series(result, "raw", 1, "p50_us"))
    whole = stats.median([one["p50_us"] for one in rows])
    inside = stats.median([one["report_us"]["p50"] for one in rows])
    return [
        "| hop, one call at a time | p50 us |",
        "|---|---:|",
        f"| the same answer from bare node:http, seen by the client (floor) | {floor:,.0f} |",
        f"| Warren's route, seen by the client | {whole:,.0f} |",
        f"| of these: from the event's hand-over to the runtime's answer (`Duration` of REPORT, in steps of 10 us) | {inside:,.0f} |",
        f"| the rest: client, loopback, HTTP, route, event, scheduling | {whole - inside:,.0f} |",
    ]


def cold(result):
    runs = result["cold"]
    if not runs:
        return []
    rows = [
        ("first signed Invoke after publishing a change, seen by the client", [r["total_ms"] for r in runs]),
        ("of these: Init (`Init Duration` of REPORT)", [r["init_ms"] for r in runs]),
        ("of these: the call itself (`Duration` of REPORT)", [r["duration_ms"] for r in runs]),
        ("the rest: sandbox, agent, scheduling, HTTP", [r["total_ms"] - r["init_ms"] - r["duration_ms"] for r in runs]),
    ]
    lines = [f"| cold start, {len(runs)} times | median ms | fastest | slowest |", "|---|---:|---:|---:|"]
    for title, values in rows:
        lines.append(f"| {title} | {stats.median(values):,.1f} | {min(values):,.1f} | {max(values):,.1f} |")
    return lines


def memory(result):
    found = result["memory"]
    agents, runtimes = found["agents_kb"], found["runtimes_kb"]
    if not agents:
        return []
    return [
        f"Memory (VmRSS) after the rounds: server {found['server_kb'] / 1024:.1f} MiB; {len(agents)} instances, each with an agent of "
        f"{stats.median(agents) / 1024:.2f} MiB (largest {max(agents) / 1024:.2f}) and a Node.js of {stats.median(runtimes or [0]) / 1024:.0f} MiB."
    ]


def markdown(result):
    machine, settings = result["machine"], result["settings"]
    busy = [one["load"] for one in result["runs"]]
    lines = [
        f"# {result['date']}, {result['host_kind']}",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['kind']}, kernel {machine['kernel']}. "
        f"Load average {min(busy):.1f} to {max(busy):.1f} (before each run; the measurement itself makes some of it).  ",
        f"{machine['warren']} ({machine['revision']}), Docker {machine['docker']}, Node.js {machine['node']} for all but workerd, "
        f"functions-framework {machine['functions_framework']}, workerd {machine['workerd']}, AWS SDK {machine['sdk']}, {machine['wrk']}.  ",
        f"Again: `{result['command']}`",
        "",
        f"{settings['rounds']} interleaved rounds of {settings['seconds']} s; medians of the rounds. Ratios are of requests/s within one round: median "
        "and, in brackets, its 95 % bootstrap interval (with few rounds: their range). How to read this: [bench/README.md](../README.md).",
    ]
    for connections in settings["connections"]:
        lines += ["", f"## {connections} at a time", "", *throughput(result, connections)]
        if connections > 1:
            lines += ["", *many(result, connections)]
    for title, section in [("Hops", hops), ("Cold starts", cold), ("Memory", memory)]:
        body = section(result)
        if body:
            lines += ["", f"## {title}", "", *body]
    checked = sum(one["requests"] for one in result["runs"])
    lines += ["", f"All {checked:,} answers were checked: status, shape, and that no process gave the same count twice."]
    return "\n".join(lines) + "\n"
