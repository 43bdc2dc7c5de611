use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use warren_model::FunctionName;

use super::{
    Dropped, DroppedTotal, LogLimits,
    follow::Follower,
    format,
    queue::{Batch, Entry, Queue, Task},
    segments::{FileEnd, Segments},
};
use crate::LogLine;

/// Functions whose newest file stays open.
const MOST_OPEN: usize = 256;
/// Time between two complaints about a disk that refuses.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);

/// The thread that owns the files.
pub(super) struct Writer {
    folder: PathBuf,
    limits: LogLimits,
    dropped: Arc<DroppedTotal>,
    open: BTreeMap<FunctionName, Open>,
    followers: BTreeMap<FunctionName, Vec<Follower>>,
    complained: Option<Instant>,
}

/// A function that was written to lately.
struct Open {
    segments: Segments,
    /// Lines in their written form, not yet written.
    pending: Vec<u8>,
    /// How many they are, and of what size.
    lines: Dropped,
}

impl Writer {
    pub(super) fn new(folder: PathBuf, limits: LogLimits, dropped: Arc<DroppedTotal>) -> Self {
        Self {
            folder,
            limits,
            dropped,
            open: BTreeMap::new(),
            followers: BTreeMap::new(),
            complained: None,
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue) {
        let mut batch = Batch::default();
        let mut idle_rounds = 0_u32;
        while queue.take(&mut batch, self.limits.pause, idle_rounds) {
            let idle = batch.entries.is_empty() && batch.dropped.is_empty();
            idle_rounds = if idle {
                idle_rounds.saturating_add(1)
            } else {
                0
            };
            for entry in batch.entries.drain(..) {
                match entry {
                    Entry::Line(function, line) => self.add(&function, line),
                    Entry::Task(task) => {
                        self.write();
                        self.perform(task);
                    }
                }
            }
            for (function, dropped) in std::mem::take(&mut batch.dropped) {
                self.add(&function, notice(dropped));
            }
            self.write();
            self.forget_the_unused();
        }
        // A notice that the last round made.
        self.write();
    }

    fn add(&mut self, function: &FunctionName, line: LogLine) {
        if let Some(open) = self.open(function) {
            format::encode(&line, &mut open.pending);
            open.lines.lines += 1;
            open.lines.bytes += line.text.len() as u64;
            // One burst of a single function doesn't grow a file far over its size.
            if open.pending.len() as u64 >= self.limits.segment_bytes {
                self.write();
            }
        } else {
            self.dropped.add(Dropped {
                lines: 1,
                bytes: line.text.len() as u64,
            });
        }
        if let Some(followers) = self.followers.get(function) {
            let line = Arc::new(line);
            for follower in followers {
                follower.send(&line);
            }
        }
    }

    /// The files of a function, found again if need be.
    fn open(&mut self, function: &FunctionName) -> Option<&mut Open> {
        if !self.open.contains_key(function) {
            match Segments::open(self.folder.join(function.as_str())) {
                Ok(segments) => {
                    let open = Open {
                        segments,
                        pending: Vec::new(),
                        lines: Dropped::default(),
                    };
                    self.open.insert(function.clone(), open);
                }
                Err(error) => {
                    self.complain(function, &error);
                    return None;
                }
            }
        }
        self.open.get_mut(function)
    }

    /// Writes what is pending. What a disk refuses is dropped and counted, and the files are looked at anew with the next line.
    fn write(&mut self) {
        let mut failures = Vec::new();
        for (function, open) in &mut self.open {
            if open.pending.is_empty() {
                continue;
            }
            let appended = open.segments.append(&open.pending, &self.limits);
            open.pending.clear();
            // A burst's memory is not kept.
            open.pending.shrink_to(64 << 10);
            let lines = std::mem::take(&mut open.lines);
            match appended {
                Ok(0) => {}
                // Written with what comes next.
                Ok(removed) => format::encode(&removal(removed, &self.limits), &mut open.pending),
                Err(error) => {
                    self.dropped.add(lines);
                    failures.push((function.clone(), error));
                }
            }
        }
        for (function, error) in failures {
            self.open.remove(&function);
            self.complain(&function, &error);
        }
    }

    fn perform(&mut self, task: Task) {
        // Whoever no longer waits for an answer doesn't get one.
        match task {
            Task::Flush(reply) => drop(reply.send(())),
            Task::Files(function, reply) => drop(reply.send(self.files(&function))),
            Task::Follow(function, follower, reply) => {
                drop(reply.send(self.files(&function)));
                self.followers.entry(function).or_default().push(follower);
            }
            Task::Delete(function, reply) => {
                self.open.remove(&function);
                self.followers.remove(&function);
                drop(reply.send(Segments::remove(&self.folder.join(function.as_str()))));
            }
        }
    }

    fn files(&mut self, function: &FunctionName) -> Vec<FileEnd> {
        self.open(function)
            .map(|open| open.segments.ends())
            .unwrap_or_default()
    }

    fn forget_the_unused(&mut self) {
        if self.open.len() > MOST_OPEN {
            // A notice of what made room waits for the next round.
            self.open.retain(|_, open| !open.pending.is_empty());
        }
        self.followers.retain(|_, followers| {
            followers.retain(|follower| !follower.is_gone());
            !followers.is_empty()
        });
    }

    fn complain(&mut self, function: &FunctionName, error: &io::Error) {
        let due = self
            .complained
            .is_none_or(|last| last.elapsed() >= COMPLAINT_EVERY);
        if due {
            self.complained = Some(Instant::now());
            tracing::warn!(%function, %error, "log lines could not be written and are dropped");
        }
    }
}

/// The line that stands for the oldest ones, which made room.
fn removal(bytes: u64, limits: &LogLimits) -> LogLine {
    LogLine::platform(
        SystemTime::now(),
        None,
        None,
        format!(
            "WARREN the oldest {bytes} bytes of this log were removed: it keeps the latest {} bytes",
            limits.function_bytes
        ),
    )
}

/// The line that stands for those that are missing.
fn notice(dropped: Dropped) -> LogLine {
    LogLine::platform(
        SystemTime::now(),
        None,
        None,
        format!(
            "WARREN {} log lines ({} bytes) were dropped, because they came faster than they could be written",
            dropped.lines, dropped.bytes
        ),
    )
}
