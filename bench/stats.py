"""Statistics of paired rounds. Machines drift, so only ratios within one round are compared."""

import random
import statistics

median = statistics.median


def percentile(values, percent):
    """The smallest value that at least this percentage of values does not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} is no percentage")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


def paired_ratios(ours, theirs):
    """ours / theirs, round by round."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds can't be paired with {len(theirs)}")
    return [a / b for a, b in zip(ours, theirs)]


def bootstrap_interval(values, level=0.95, resamples=10_000, seed=1):
    """Percentile bootstrap interval of the median: (low, high).

    With n values it can't be wider than their range; with fewer than about six it is little more than that range.
    """
    if not values:
        raise ValueError("no values")
    generator = random.Random(seed)
    medians = sorted(median(generator.choices(values, k=len(values))) for _ in range(resamples))
    tail = (1 - level) / 2 * 100
    return percentile(medians, tail), percentile(medians, 100 - tail)
