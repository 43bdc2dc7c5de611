//! Functions' logs: the handle. A line goes `append -> Queue -> writer thread -> Segments` (files) `-> followers`; a query asks the writer where the
//! files end by now, and reads them up to there.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;
use warren_model::{FunctionName, RequestId};

use crate::LogLine;

mod follow;
mod format;
mod queue;
mod read;
mod segments;
#[cfg(test)]
mod tests;
mod writer;

pub use follow::{Follow, Followed};
use queue::{Queue, Task};

/// Bounds of the logs. The defaults are the crate's promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Size from which on a file is not continued, in bytes.
    pub segment_bytes: u64,
    /// All files of one function, in bytes, give or take one batch.
    pub function_bytes: u64,
    /// Lines that wait to be written, in bytes of memory.
    pub queue_bytes: usize,
    /// How long lines are collected before they are written together.
    pub pause: Duration,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            segment_bytes: 5 << 20,
            function_bytes: 50 << 20,
            queue_bytes: 16 << 20,
            pause: Duration::from_millis(2),
        }
    }
}

/// Why a log could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The folder or a file of it failed.
    #[error("log file {} could not be {doing}", path.display())]
    File {
        /// What was tried: `created`, `read`, `removed`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The writer has ended.
    #[error("the log writer has ended")]
    Closed,
}

/// Which lines of a function's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Not older, in microseconds since the epoch.
    pub since_us: Option<u64>,
    /// Of this invocation only.
    pub request: Option<RequestId>,
    /// This many at most: the latest ones.
    pub limit: usize,
}

impl Query {
    /// The latest lines.
    pub fn latest(limit: usize) -> Self {
        Self {
            since_us: None,
            request: None,
            limit,
        }
    }

    pub(crate) fn matches(&self, line: &LogLine) -> bool {
        self.since_us.is_none_or(|since| line.time_us >= since)
            && (self.request.is_none() || self.request == line.request)
    }
}

/// What was dropped since the start, because the queue was full or a disk refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Lines.
    pub lines: u64,
    /// Bytes of their text.
    pub bytes: u64,
}

/// Sums of [`Dropped`], which several threads add to.
#[derive(Debug, Default)]
pub(crate) struct DroppedTotal {
    lines: AtomicU64,
    bytes: AtomicU64,
}

impl DroppedTotal {
    pub(crate) fn add(&self, dropped: Dropped) {
        self.lines.fetch_add(dropped.lines, Ordering::Relaxed);
        self.bytes.fetch_add(dropped.bytes, Ordering::Relaxed);
    }

    fn get(&self) -> Dropped {
        Dropped {
            lines: self.lines.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// The logs of all functions; clones are the same logs. When the last one is dropped, what was appended is written first.
#[derive(Debug, Clone)]
pub struct FunctionLogs {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    dropped: Arc<DroppedTotal>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the log writer panicked");
        }
    }
}

impl FunctionLogs {
    /// Opens the logs below a folder, which is made if need be (mode 0700), and starts the writer, with the default limits.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        Self::with_limits(folder, LogLimits::default())
    }

    /// [`Self::open`] with other limits.
    pub fn with_limits(folder: &Path, limits: LogLimits) -> Result<Self, LogError> {
        segments::create_folder(folder)?;
        let queue = Arc::new(Queue::new(limits.queue_bytes));
        let dropped = Arc::new(DroppedTotal::default());
        let writer = {
            let queue = Arc::clone(&queue);
            let writer = writer::Writer::new(folder.to_owned(), limits, Arc::clone(&dropped));
            std::thread::Builder::new()
                .name("function-logs".to_owned())
                .spawn(move || queue::serve(&queue, |queue| writer.run(queue)))
                .map_err(|source| LogError::File {
                    doing: "given a writer thread",
                    path: folder.to_owned(),
                    source,
                })?
        };
        Ok(Self {
            handle: Arc::new(Handle {
                queue,
                dropped,
                writer: Some(writer),
            }),
        })
    }

    /// Adds a line to a function's log: into memory, never waiting for a disk. If the queue is full the line is dropped and counted.
    pub fn append(&self, function: &FunctionName, line: LogLine) {
        self.append_all(function, [line]);
    }

    /// The same for several lines, which stay together.
    pub fn append_all(&self, function: &FunctionName, lines: impl IntoIterator<Item = LogLine>) {
        let dropped = self.handle.queue.append(function, lines);
        if dropped.lines > 0 {
            self.handle.dropped.add(dropped);
        }
    }

    /// Waits until every line appended so far is with the operating system.
    pub async fn flush(&self) -> Result<(), LogError> {
        self.ask(Task::Flush).await
    }

    /// Lines of a function's log, oldest first; those appended before this call are seen. An unknown function has none.
    pub async fn query(
        &self,
        function: &FunctionName,
        query: Query,
    ) -> Result<Vec<LogLine>, LogError> {
        let files = self
            .ask(|reply| Task::Files(function.clone(), reply))
            .await?;
        read::query(files, query).await
    }

    /// Lines of a function's log as [`Self::query`] gives them, and then each further one. Nothing is missing or repeated between the two.
    pub async fn follow(
        &self,
        function: &FunctionName,
        query: Query,
    ) -> Result<(Vec<LogLine>, Follow), LogError> {
        let (follower, follow) = follow::channel(&query);
        let files = self
            .ask(|reply| Task::Follow(function.clone(), follower, reply))
            .await?;
        Ok((read::query(files, query).await?, follow))
    }

    /// Removes a function's log. Lines appended later begin a new one.
    pub async fn delete(&self, function: &FunctionName) -> Result<(), LogError> {
        self.ask(|reply| Task::Delete(function.clone(), reply))
            .await?
    }

    /// What was dropped since the start.
    pub fn dropped(&self) -> Dropped {
        self.handle.dropped.get()
    }

    async fn ask<T>(&self, task: impl FnOnce(oneshot::Sender<T>) -> Task) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        self.handle.queue.ask(task(reply));
        answer.await.map_err(|_| LogError::Closed)
    }
}
