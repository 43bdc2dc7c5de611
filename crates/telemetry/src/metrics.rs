//! Counters and histograms that any thread adds to without a lock, and their Prometheus text.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use warren_model::CallEnd;

use crate::{Dropped, RecordCounts};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number that only grows.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    fn increment(&self) {
        self.add(1);
    }

    fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the histogram's buckets, in microseconds: 1-2.5-5 from 100 us to 900 s, Lambda's longest timeout.
const BOUNDS_US: [u64; 20] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
];

/// Durations, counted in fixed buckets.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [Counter; BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        self.buckets[bucket].increment();
        self.sum_us.add(micros);
    }

    fn render(&self, name: &str, page: &mut Page) {
        let mut count = 0;
        for (place, bucket) in self.buckets.iter().enumerate() {
            count += bucket.get();
            let bound = BOUNDS_US
                .get(place)
                .map_or("+Inf".to_owned(), |bound| seconds(*bound));
            page.sample(&format!("{name}_bucket"), &[("le", &bound)], &count);
        }
        page.sample(&format!("{name}_sum"), &[], &seconds(self.sum_us.get()));
        page.sample(&format!("{name}_count"), &[], &count);
    }
}

/// Microseconds as seconds, without trailing zeros.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By an answer.
    Ok,
    /// By an error that the handler or Init raised.
    Error,
    /// By its deadline.
    TimedOut,
    /// With its process.
    Exited,
    /// By an answer that Warren could not pass on.
    Broken,
    /// Warren could not run it.
    Platform,
    /// Refused: a limit was reached or the host is busy.
    Throttled,
}

impl Ended {
    const ALL: [(Self, &str); 7] = [
        (Self::Ok, "ok"),
        (Self::Error, "error"),
        (Self::TimedOut, "timeout"),
        (Self::Exited, "exit"),
        (Self::Broken, "broken"),
        (Self::Platform, "platform"),
        (Self::Throttled, "throttled"),
    ];
}

impl From<CallEnd> for Ended {
    fn from(end: CallEnd) -> Self {
        match end {
            CallEnd::Answer => Self::Ok,
            CallEnd::Error => Self::Error,
            CallEnd::TimedOut => Self::TimedOut,
            CallEnd::Exited | CallEnd::OutOfMemory => Self::Exited,
            CallEnd::Broken => Self::Broken,
            CallEnd::Platform | CallEnd::NoInstance | CallEnd::Stopping | CallEnd::Changed => {
                Self::Platform
            }
            CallEnd::FunctionConcurrency | CallEnd::AccountConcurrency | CallEnd::HostBusy => {
                Self::Throttled
            }
        }
    }
}

/// What is the case at the moment of a scrape, counted elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Instances being started.
    pub starting: u32,
    /// Sandboxes that were started ahead and wait for a function.
    pub stems: u64,
    /// Instances without a call.
    pub idle: u32,
    /// Instances with a call.
    pub busy: u32,
    /// Instances that are being stopped.
    pub stopping: u32,
    /// Memory that they hold, in MB.
    pub memory_mb: u64,
    /// Calls that wait for an instance.
    pub waiting: u32,
    /// Starts so far.
    pub starts: u64,
    /// Starts so far that failed.
    pub start_failures: u64,
    /// Events so far that did not fit the scheduler's state.
    pub ignored_events: u64,
    /// Waits that polled until their message came.
    pub busy_polls_won: u64,
    /// Waits that polled in vain.
    pub busy_polls_lost: u64,
    /// Log lines dropped so far.
    pub dropped: Dropped,
    /// What became of records so far.
    pub records: RecordCounts,
}

/// The metrics of one server.
#[derive(Debug, Default)]
pub struct Metrics {
    invocations: [Counter; Ended::ALL.len()],
    durations: Histogram,
    refusals: Histogram,
}

impl Metrics {
    /// An invocation ended, after this time.
    pub fn invocation(&self, ended: Ended, duration: Duration) {
        self.invocations[ended as usize].increment();
        match ended {
            Ended::Throttled => self.refusals.observe(duration),
            _ => self.durations.observe(duration),
        }
    }

    /// All of it in Prometheus' text format 0.0.4.
    pub fn render(&self, now: &Now) -> String {
        let mut page = Page::default();
        page.head(
            "warren_invocations_total",
            "counter",
            "Invocations by how they ended.",
        );
        for (ended, name) in Ended::ALL {
            let count = self.invocations[ended as usize].get();
            page.sample("warren_invocations_total", &[("outcome", name)], &count);
        }
        let name = "warren_invocation_duration_seconds";
        page.head(
            name,
            "histogram",
            "Time from an invocation to its end, waiting and cold start included.",
        );
        self.durations.render(name, &mut page);
        let name = "warren_refusal_duration_seconds";
        page.head(
            name,
            "histogram",
            "Time from the head of a request to its refusal with 429, waiting for an instance included.",
        );
        self.refusals.render(name, &mut page);

        page.head("warren_instances", "gauge", "Instances by state.");
        for (state, count) in [
            ("starting", now.starting),
            ("idle", now.idle),
            ("busy", now.busy),
            ("stopping", now.stopping),
        ] {
            page.sample("warren_instances", &[("state", state)], &count);
        }
        let name = "warren_busy_polls_total";
        page.head(
            name,
            "counter",
            "Waits for a message that polled, by whether it came within the moment.",
        );
        page.sample(name, &[("outcome", "message")], &now.busy_polls_won);
        page.sample(name, &[("outcome", "none")], &now.busy_polls_lost);
        let name = "warren_records_dropped_total";
        page.head(
            name,
            "counter",
            "Calls without a record, by why: the queue was full, the store was away, or the task that ran the call ended.",
        );
        page.sample(name, &[("reason", "queue")], &now.records.no_room);
        page.sample(name, &[("reason", "store")], &now.records.store_away);
        page.sample(name, &[("reason", "task")], &now.records.lost);
        let plain: [(&str, &str, &str, u64); 9] = [
            (
                "warren_records_written_total",
                "counter",
                "Records of calls that were written.",
                now.records.kept,
            ),
            (
                "warren_stems",
                "gauge",
                "Sandboxes that were started ahead and wait for a function.",
                now.stems,
            ),
            (
                "warren_instances_memory_bytes",
                "gauge",
                "Memory set apart for instances.",
                now.memory_mb << 20,
            ),
            (
                "warren_calls_waiting",
                "gauge",
                "Calls that wait for an instance.",
                now.waiting.into(),
            ),
            (
                "warren_instance_starts_total",
                "counter",
                "Instances that were asked for.",
                now.starts,
            ),
            (
                "warren_instance_start_failures_total",
                "counter",
                "Instances that could not be started.",
                now.start_failures,
            ),
            (
                "warren_scheduler_ignored_events_total",
                "counter",
                "Events that did not fit the scheduler's state.",
                now.ignored_events,
            ),
            (
                "warren_log_dropped_lines_total",
                "counter",
                "Log lines that were not kept.",
                now.dropped.lines,
            ),
            (
                "warren_log_dropped_bytes_total",
                "counter",
                "Bytes of log lines that were not kept.",
                now.dropped.bytes,
            ),
        ];
        for (name, kind, help, value) in plain {
            page.head(name, kind, help);
            page.sample(name, &[], &value);
        }
        page.text
    }
}

/// The text of a scrape. Names, help and label values are constants of this module, so nothing needs escaping.
#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: &dyn std::fmt::Display) {
        self.text.push_str(name);
        for (place, (label, label_value)) in labels.iter().enumerate() {
            let open = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{label_value}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_outcomes_is_that_of_their_counters() {
        for (place, (ended, _)) in Ended::ALL.into_iter().enumerate() {
            assert_eq!(ended as usize, place);
        }
    }

    #[test]
    fn renders_prometheus_text() {
        let metrics = Metrics::default();
        metrics.invocation(Ended::Ok, Duration::from_micros(250));
        metrics.invocation(Ended::Ok, Duration::from_secs(2_000));
        metrics.invocation(Ended::Throttled, Duration::ZERO);
        let text = metrics.render(&Now {
            idle: 3,
            memory_mb: 128,
            dropped: Dropped { lines: 1, bytes: 9 },
            ..Now::default()
        });
        for line in [
            "# TYPE warren_invocations_total counter",
            "warren_invocations_total{outcome=\"ok\"} 2",
            "warren_invocations_total{outcome=\"throttled\"} 1",
            "# TYPE warren_invocation_duration_seconds histogram",
            "warren_invocation_duration_seconds_bucket{le=\"0.0001\"} 0",
            "warren_invocation_duration_seconds_bucket{le=\"0.00025\"} 1",
            "warren_invocation_duration_seconds_bucket{le=\"900\"} 1",
            "warren_invocation_duration_seconds_bucket{le=\"+Inf\"} 2",
            "warren_invocation_duration_seconds_sum 2000.00025",
            "warren_invocation_duration_seconds_count 2",
            "warren_refusal_duration_seconds_bucket{le=\"0.0001\"} 1",
            "warren_refusal_duration_seconds_count 1",
            "warren_instances{state=\"idle\"} 3",
            "warren_instances_memory_bytes 134217728",
            "warren_log_dropped_bytes_total 9",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_sample_has_a_type_and_a_number() {
        let text = Metrics::default().render(&Now::default());
        let mut name = "";
        for line in text.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                name = typed.split(' ').next().unwrap();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(name), "{line}");
                let value = line.rsplit(' ').next().unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(text.ends_with('\n'));
    }
}
