"""Sums up figures, `{"sales": {"lamp": [3, 4], "chair": [1]}}`, and needs no network for it: `--network none`."""


def handler(event, context):
    totals = {item: sum(figures) for item, figures in event["sales"].items()}
    lines = [f"{item:<12}{total:>8}" for item, total in sorted(totals.items())]
    return {"total": sum(totals.values()), "report": "\n".join(lines)}
