use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use warren_model::{CallEnd, RequestId, Wait};
use warren_store::Counted;

use super::{tally::Tally, *};

/// A store in memory that can be away, and that can't hold errors of the type `bad`, with the sizes of its batches.
#[derive(Default)]
struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    calls: Vec<PlacedCall>,
    batches: Vec<usize>,
    away: bool,
    /// It can be written to, and nothing else.
    slow: bool,
    counts: usize,
}

#[async_trait]
impl RecordStore for Memory {
    async fn keep(&self, calls: &[PlacedCall]) -> Result<u64, StoreError> {
        let mut state = self.0.lock().unwrap();
        if state.away {
            return Err(StoreError::Unavailable("it is away".into()));
        }
        let bad = |placed: &PlacedCall| placed.call.error_type.as_deref() == Some("bad");
        if calls.iter().any(bad) {
            return Err(StoreError::Refused {
                problem: "it can't hold it".to_owned(),
                value: true,
                source: "bad".into(),
            });
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

    async fn count_before(&self, place: i64, most: u32) -> Result<Counted, StoreError> {
        let mut state = self.0.lock().unwrap();
        state.counts += 1;
        if state.slow {
            return Err(StoreError::Unavailable("no answer".into()));
        }
        let earlier = state.calls.iter().filter(|placed| placed.id < place);
        let latest = earlier.map(|placed| placed.id).rev();
        let step: Vec<i64> = latest.take(most as usize).collect();
        Ok(Counted {
            number: step.len() as u64,
            from: step.last().copied(),
        })
    }

    async fn remove_before(&self, place: i64, most: u32) -> Result<u64, StoreError> {
        let mut state = self.0.lock().unwrap();
        if state.slow {
            return Err(StoreError::Unavailable("no answer".into()));
        }
        let calls = &mut state.calls;
        let old = calls.iter().filter(|placed| placed.id < place).count();
        let removed = old.min(most as usize);
        calls.drain(..removed);
        Ok(removed as u64)
    }

    async fn sweep(&self, _most: u32) -> Result<u64, StoreError> {
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
    // With the one that the writer has in hand.
    let unwritten = records.close(Duration::from_millis(10)).await;
    assert_eq!(unwritten, QUEUE as u64 + 1);
}

#[tokio::test]
async fn what_could_not_be_written_at_the_end_is_counted() {
    let (records, memory) = start(WEEK);
    memory.0.lock().unwrap().away = true;
    records.keep(call("a"));
    while !records.counts().failing {
        sleep(Duration::from_millis(10)).await;
    }
    records.keep(call("b"));
    // Who asks is no record.
    for _ in 0..3 {
        assert!(!records.flush(Duration::from_millis(10)).await);
    }
    assert_eq!(records.close(Duration::from_millis(10)).await, 2);
}

#[tokio::test]
async fn what_can_t_be_held_takes_nothing_with_it() {
    let (records, memory) = start(WEEK);
    for number in 0..500 {
        let error_type = [3, 77, 78].contains(&number).then(|| "bad".to_owned());
        records.keep(CallRecord {
            error_type,
            ..call(&number.to_string())
        });
    }
    let begun = Instant::now();
    assert!(records.flush(FLUSH).await);
    // It is no outage: nothing is tried again after a pause.
    assert!(begun.elapsed() < TEST_PATIENCE / 2, "{:?}", begun.elapsed());
    let counts = records.counts();
    assert_eq!(
        (counts.kept, counts.store_away, counts.failing),
        (497, 3, false)
    );
    assert_eq!(memory.0.lock().unwrap().calls.len(), 497);
    assert_eq!(records.find(&LATEST).await.unwrap().len(), 10);
    assert_eq!(records.close(FLUSH).await, 0);
}

#[tokio::test]
async fn a_store_that_can_t_count_takes_records_all_the_same() {
    let (records, memory) = start(Retention { number: 10, ..WEEK });
    memory.0.lock().unwrap().slow = true;
    let begun = Instant::now();
    for number in 0..30 {
        records.keep(call(&number.to_string()));
        assert!(records.flush(FLUSH).await);
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
    {
        let state = memory.0.lock().unwrap();
        assert_eq!(state.calls.len(), 30);
        // It is not asked at each batch.
        assert!(state.counts < 5, "{}", state.counts);
    }
    memory.0.lock().unwrap().slow = false;
    let until = Instant::now() + Duration::from_secs(10);
    while memory.0.lock().unwrap().calls.len() > 10 {
        assert!(Instant::now() < until, "not removed");
        sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn what_comes_while_all_are_counted_is_counted_once() {
    let placed = |id| PlacedCall {
        id,
        call: call("a"),
    };
    let step = |number, from| Counted { number, from };
    let mut tally = Tally::BLANK;
    // Nothing is counted yet, and the first step will have it.
    tally.added(&[placed(50)], 1);
    tally.counted(step(10, Some(41)), 10);
    assert_eq!(tally.whole(), None);
    // One behind the step, and one before it, which the next has.
    tally.added(&[placed(30), placed(51)], 2);
    assert!(tally.is_amid(42) && !tally.is_amid(41));
    tally.removed(5);
    tally.counted(step(7, Some(20)), 10);
    assert_eq!(tally.whole(), Some(10 + 1 + 7));
    assert!(!tally.is_amid(42));
    tally.added(&[placed(60), placed(61)], 1);
    tally.removed(4);
    assert_eq!(tally.whole(), Some(15));
    // Which of two was there already is not known.
    let mut tally = Tally::BLANK;
    tally.counted(step(10, Some(41)), 10);
    tally.added(&[placed(60), placed(61)], 1);
    assert_eq!(tally, Tally::BLANK);
    tally.counted(step(0, None), 10);
    assert_eq!(tally.whole(), Some(0));
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
