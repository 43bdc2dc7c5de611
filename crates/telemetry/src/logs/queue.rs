use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;
use warren_model::FunctionName;

use super::{Dropped, LogError, follow::Follower, segments::FileEnd};
use crate::{LogLine, Source};

/// Empty rounds after which the writer sleeps until it is woken, instead of looking again after a pause.
const ROUNDS_AWAKE: u32 = 50;

/// The part of the queue that is kept for the platform's lines: START, END, REPORT.
const PLATFORM_PART: usize = 8;

/// What the writer is asked for; answered in the order of the lines around it.
pub(super) enum Task {
    Flush(oneshot::Sender<()>),
    Files(FunctionName, oneshot::Sender<Vec<FileEnd>>),
    Follow(FunctionName, Follower, oneshot::Sender<Vec<FileEnd>>),
    Delete(FunctionName, oneshot::Sender<Result<(), LogError>>),
}

/// One entry of the queue.
pub(super) enum Entry {
    Line(FunctionName, LogLine),
    Task(Task),
}

/// What goes to the writer. Appending takes a lock for some nanoseconds and, while the writer is awake, no system call.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the writer.
    wake: Condvar,
    /// Bytes of lines that may wait.
    most: usize,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    bytes: usize,
    /// The same, by function.
    shares: BTreeMap<FunctionName, usize>,
    dropped: BTreeMap<FunctionName, Dropped>,
    /// The writer waits for the first line, not for a pause to pass.
    asleep: bool,
    /// Somebody waits for an answer.
    urgent: bool,
    closed: bool,
}

/// What the writer takes at once.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// What was dropped since the last batch, by function.
    pub(super) dropped: BTreeMap<FunctionName, Dropped>,
}

/// Runs the writer; however it ends, nobody waits for it afterwards.
pub(super) fn serve(queue: &Queue, writer: impl FnOnce(&Queue)) {
    struct Close<'a>(&'a Queue);
    impl Drop for Close<'_> {
        fn drop(&mut self) {
            self.0.close();
            self.0.state().entries.clear();
        }
    }
    let close = Close(queue);
    writer(close.0);
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            most,
        }
    }

    /// Adds lines, as far as they fit; answers what didn't.
    ///
    /// A function's output fits while the function takes no more than is left to the others, so that one that is noisy leaves them half of the queue. The
    /// last part of it is for the platform's lines alone.
    pub(super) fn append(
        &self,
        function: &FunctionName,
        lines: impl IntoIterator<Item = LogLine>,
    ) -> Dropped {
        let mut dropped = Dropped::default();
        let mut state = self.state();
        let mut share = state.shares.get(function).copied().unwrap_or_default();
        let before = share;
        for line in lines {
            let weight = line.weight();
            let left = self.most.saturating_sub(state.bytes);
            let fits = match line.source {
                Source::Platform => weight <= left,
                Source::Stdout | Source::Stderr => {
                    share + weight <= left.saturating_sub(self.most / PLATFORM_PART)
                }
            };
            if state.closed || !fits {
                dropped.lines += 1;
                dropped.bytes += line.text.len() as u64;
                continue;
            }
            state.bytes += weight;
            share += weight;
            state.entries.push(Entry::Line(function.clone(), line));
        }
        if share > before {
            state.shares.insert(function.clone(), share);
        }
        if dropped.lines > 0 {
            let sum = state.dropped.entry(function.clone()).or_default();
            sum.lines += dropped.lines;
            sum.bytes += dropped.bytes;
        }
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        dropped
    }

    /// Adds a task; it is dropped, and its asker told so, if the writer has ended.
    pub(super) fn ask(&self, task: Task) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        state.entries.push(Entry::Task(task));
        state.urgent = true;
        state.asleep = false;
        drop(state);
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_one();
    }

    /// Waits for a pause, or for the first line where there have been none for a while, and swaps what has come into the batch, which must be
    /// empty. `false` when the queue is closed and empty.
    pub(super) fn take(&self, batch: &mut Batch, pause: Duration, idle_rounds: u32) -> bool {
        let mut state = self.state();
        if idle_rounds > ROUNDS_AWAKE && state.is_empty() && !state.closed {
            state.asleep = true;
            state = self
                .wake
                .wait_while(state, |state| state.asleep && !state.closed)
                .unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
        }
        let awake = |state: &mut State| !state.urgent && !state.closed;
        let (mut state, _) = self
            .wake
            .wait_timeout_while(state, pause, awake)
            .unwrap_or_else(PoisonError::into_inner);
        state.urgent = false;
        state.bytes = 0;
        state.shares.clear();
        std::mem::swap(&mut state.entries, &mut batch.entries);
        std::mem::swap(&mut state.dropped, &mut batch.dropped);
        !(state.closed && batch.entries.is_empty() && batch.dropped.is_empty())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.dropped.is_empty()
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}
