"""python3 -m unittest discover -s bench -p 'test_*.py'"""

import unittest

import stats


class Stats(unittest.TestCase):
    def test_percentile_is_nearest_rank(self):
        values = [15, 20, 35, 40, 50]
        for percent, expected in [(0, 15), (5, 15), (30, 20), (40, 20), (50, 35), (100, 50)]:
            self.assertEqual(stats.percentile(values, percent), expected, percent)
        self.assertEqual(stats.percentile([3], 99), 3)
        self.assertEqual(stats.percentile(range(1, 101), 99), 99)

    def test_percentile_refuses_nonsense(self):
        for values, percent in [([], 50), ([1], 101), ([1], -1)]:
            with self.assertRaises(ValueError):
                stats.percentile(values, percent)

    def test_ratios_are_paired_by_round(self):
        # The machine got twice as slow; the ratio did not change.
        self.assertEqual(stats.paired_ratios([200, 100], [100, 50]), [2, 2])
        with self.assertRaises(ValueError):
            stats.paired_ratios([1, 2], [1])

    def test_interval_holds_the_median_and_stays_in_range(self):
        values = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 9.0]
        low, high = stats.bootstrap_interval(values)
        self.assertLessEqual(low, stats.median(values))
        self.assertGreaterEqual(high, stats.median(values))
        self.assertGreaterEqual(low, min(values))
        self.assertLessEqual(high, max(values))
        # One outlier does not make the median's interval reach it.
        self.assertLess(high, 9.0)

    def test_interval_is_repeatable_and_shrinks_with_more_values(self):
        few, many = [1.0, 2.0, 3.0], [1.0, 2.0, 3.0] * 30
        self.assertEqual(stats.bootstrap_interval(few), stats.bootstrap_interval(few))
        width = lambda values: stats.bootstrap_interval(values)[1] - stats.bootstrap_interval(values)[0]
        self.assertLessEqual(width(many), width(few))
        self.assertEqual(stats.bootstrap_interval([2.0]), (2.0, 2.0))

    def test_interval_covers_the_true_median_about_as_often_as_it_says(self):
        import random

        generator = random.Random(7)
        hits = 0
        for seed in range(200):
            values = [generator.gauss(5, 1) for _ in range(25)]
            low, high = stats.bootstrap_interval(values, resamples=300, seed=seed)
            hits += low <= 5 <= high
        self.assertGreater(hits, 175)
        self.assertLess(hits, 200)


if __name__ == "__main__":
    unittest.main()
