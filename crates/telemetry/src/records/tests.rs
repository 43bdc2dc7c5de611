use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use warren_model::{CallEnd, EngineName, RequestId, Wait};

use super::*;

/// A store in memory that can be away, with the sizes of its batches.
#[derive(Default)]
struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    calls: Vec<PlacedCall>,
    batches: Vec<usize>,
    away: bool,
}

#[async_trait]
impl RecordStore for Memory {
    async fn keep(&self, calls: &[PlacedCall]) -> Result<u64, StoreError> {
        let mut state = self.0.lock().unwrap();
        if state.away {
            return Err(StoreError::Unavailable("it is away".into()));
        }
        state.calls.extend_from_slice(calls);
        state.batches.push(calls.len());
        Ok(calls.len() as u64)
    }

    async fn find(&self, filter: &CallFilter) -> Result<Vec<PlacedCall>, StoreError> {
        let calls = self.0.lock().unwrap().calls.clone();
        Ok(calls
            .into_iter()
            .rev()
            .take(filter.limit as usize)
            .collect())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.0.lock().unwrap().calls.len() as u64)
    }

    async fn remove_before(&self, place: i64, most: u32) -> Result<u64, StoreError> {
        let calls = &mut self.0.lock().unwrap().calls;
        let old = calls.iter().filter(|placed| placed.id < place).count();
        let removed = old.min(most as usize);
        calls.drain(..removed);
        Ok(removed as u64)
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn close(&self) {}
}

const WEEK: Retention = Retention {
    age: Duration::from_secs(7 * 86_400),
    number: 1_000_000,
};

/// How long the store of these tests may fail.
const TEST_PATIENCE: Duration = Duration::from_millis(3_000);

fn start(retention: Retention) -> (Records, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let store = Arc::clone(&memory);
    (
        Records::start_patient(Origin::default(), store, retention, TEST_PATIENCE),
        memory,
    )
}

fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_micros() as u64
}

fn call(request: &str) -> CallRecord {
    CallRecord {
        source: Arc::new(CallSource {
            function: "f".parse().unwrap(),
            version: "1".to_owned(),
            revision: RevisionId::new("r"),
            engine: EngineName::DOCKER,
            instance: None,
            node: String::new(),
            boot: 1,
        }),
        request: RequestId::new(request),
        arrived_us: now_us(),
        attempts: 1,
        queued_us: 10,
        wait: Wait::None,
        wait_us: 0,
        init_us: 0,
        init_again_us: None,
        instance_init_us: None,
        handler_us: Some(90),
        closing_us: 5,
        bytes_in: 0,
        bytes_out: 0,
        cpu: None,
        peak_bytes: None,
        end: CallEnd::Answer,
        error_type: None,
        trace: None,
    }
}

const LATEST: CallFilter = CallFilter {
    function: None,
    engine: None,
    outcome: None,
    since_us: None,
    before: None,
    limit: 10,
};

#[tokio::test]
async fn a_question_sees_all_that_was_kept_before_it() {
    let (records, memory) = start(WEEK);
    for number in 0..20 {
        records.keep(call(&number.to_string()));
    }
    let found = records.find(&LATEST).await.unwrap();
    assert_eq!(found.len(), 10);
    assert_eq!(found[0].call.request.as_str(), "19");
    assert_eq!(memory.0.lock().unwrap().calls.len(), 20);
    assert_eq!(records.counts().kept, 20);
}

#[tokio::test]
async fn what_comes_within_a_moment_is_one_batch() {
    let (records, memory) = start(WEEK);
    for number in 0..200 {
        records.keep(call(&number.to_string()));
        if number % 20 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(records.flush(FLUSH).await);
    let batches = memory.0.lock().unwrap().batches.clone();
    assert_eq!(batches.iter().sum::<usize>(), 200);
    assert!(batches.len() <= 20, "{batches:?}");
}

#[tokio::test]
async fn a_short_outage_loses_nothing() {
    let (records, memory) = start(WEEK);
    memory.0.lock().unwrap().away = true;
    records.keep(call("a"));
    while !records.counts().failing {
        sleep(Duration::from_millis(10)).await;
    }
    let late = records.find(&LATEST).await;
    assert!(matches!(late, Err(RecordsError::Late)), "{late:?}");
    memory.0.lock().unwrap().away = false;
    assert!(records.flush(FLUSH).await);
    let counts = records.counts();
    assert_eq!(
        (counts.kept, counts.missing(), counts.failing),
        (1, 0, false)
    );
}

#[tokio::test]
async fn a_long_outage_drops_and_counts() {
    let (records, memory) = start(WEEK);
    memory.0.lock().unwrap().away = true;
    records.keep(call("a"));
    let begun = Instant::now();
    while records.counts().store_away == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(begun.elapsed() >= TEST_PATIENCE, "{:?}", begun.elapsed());
    // Not waited for any more.
    records.keep(call("b"));
    assert!(records.flush(FLUSH).await);
    assert_eq!(records.counts().store_away, 2);
    memory.0.lock().unwrap().away = false;
    records.keep(call("c"));
    assert!(records.flush(FLUSH).await);
    let counts = records.counts();
    assert_eq!(
        (counts.kept, counts.store_away, counts.failing),
        (1, 2, false)
    );
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let (records, memory) = start(WEEK);
    memory.0.lock().unwrap().away = true;
    records.keep(call("first"));
    while !records.counts().failing {
        sleep(Duration::from_millis(10)).await;
    }
    let one = call("more");
    for _ in 0..QUEUE + 7 {
        records.keep(one.clone());
    }
    assert_eq!(records.counts().no_room, 7);
    assert_eq!(records.close(Duration::from_millis(10)).await, QUEUE as u64);
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many() {
    let (records, memory) = start(Retention {
        number: 100,
        ..WEEK
    });
    for number in 0..2_500 {
        records.keep(call(&number.to_string()));
    }
    assert!(records.flush(FLUSH).await);
    let until = Instant::now() + Duration::from_secs(5);
    while memory.0.lock().unwrap().calls.len() > 100 {
        assert!(Instant::now() < until, "not removed");
        sleep(Duration::from_millis(20)).await;
    }
    let left = memory.0.lock().unwrap().calls.clone();
    assert_eq!(left.len(), 100);
    assert_eq!(left[99].call.request.as_str(), "2499");
}

#[tokio::test]
async fn the_old_go_by_themselves() {
    let (records, memory) = start(Retention {
        age: Duration::from_secs(3_600),
        number: 1_000,
    });
    let mut old = call("old");
    old.arrived_us -= 3_601_000_000;
    records.keep(old);
    records.keep(call("new"));
    assert!(records.flush(FLUSH).await);
    let until = Instant::now() + Duration::from_secs(5);
    while memory.0.lock().unwrap().calls.len() > 1 {
        assert!(Instant::now() < until, "not removed");
        sleep(Duration::from_millis(20)).await;
    }
    let left = memory.0.lock().unwrap().calls.clone();
    assert_eq!(left[0].call.request.as_str(), "new");
}

#[tokio::test]
async fn switched_off_it_counts_and_keeps_nothing() {
    let records = Records::off(Origin::default());
    records.answered(&call("a"), Duration::ZERO);
    records.keep(call("a"));
    assert!(matches!(
        records.find(&LATEST).await,
        Err(RecordsError::Off)
    ));
    assert_eq!(records.close(FLUSH).await, 0);
    assert_eq!(records.counts(), RecordCounts::default());
    let page = records.metrics().render(&Default::default());
    for line in [
        "warren_invocations_total{outcome=\"ok\"} 1",
        "warren_invocation_duration_seconds_sum 0.0001",
    ] {
        assert!(page.lines().any(|other| other == line), "{page}");
    }
}

#[tokio::test]
async fn a_refusal_is_timed_from_its_request_s_head() {
    let records = Records::off(Origin::default());
    let refused = CallRecord {
        end: CallEnd::HostBusy,
        ..call("a")
    };
    records.answered(&refused, Duration::from_millis(3));
    let page = records.metrics().render(&Default::default());
    let line = "warren_refusal_duration_seconds_sum 0.003";
    assert!(page.lines().any(|other| other == line), "{page}");
}
