use proptest::prelude::*;

use super::*;

const SETTINGS: StemSettings = StemSettings {
    budget: 100,
    guess: 10,
    starts: 1,
};

impl OnEngine for &'static str {
    /// By their first letter; "c" and those behind it are on another.
    fn engine(&self) -> EngineName {
        match *self < "c" {
            true => EngineName::DOCKER,
            false => EngineName::named("runc"),
        }
    }
}

type Pool = Stems<&'static str>;

fn at(seconds: u64) -> Moment {
    Moment::default().plus(Duration::from_secs(seconds))
}

fn plan(pool: &mut Pool, now: Moment) -> Vec<StemAction<&'static str>> {
    let mut actions = Vec::new();
    pool.plan(now, &mut actions);
    actions
}

/// Does what is planned, every start at once and well, until nothing is; gives the kinds that were started and how many were stopped.
fn settle(pool: &mut Pool, now: Moment) -> (Vec<&'static str>, usize) {
    let (mut started, mut stopped) = (Vec::new(), 0);
    loop {
        let actions = plan(pool, now);
        if actions.is_empty() {
            return (started, stopped);
        }
        for action in actions {
            match action {
                StemAction::Start { stem, kind } => {
                    pool.started(stem, Some(10), now);
                    started.push(kind);
                }
                StemAction::Stop { .. } => stopped += 1,
            }
        }
    }
}

fn pool(kinds: &[&'static str]) -> Pool {
    let mut pool = Pool::new(SETTINGS);
    pool.follow(kinds.iter().copied().collect());
    pool
}

#[test]
fn one_of_each_kind_is_kept_and_replaced() {
    let mut pool = pool(&["a", "b"]);
    assert_eq!(settle(&mut pool, at(0)), (vec!["a", "b"], 0));
    assert!(pool.take(&"a", at(100)).is_some());
    assert!(pool.take(&"c", at(100)).is_none());
    let (started, _) = settle(&mut pool, at(100));
    assert!(started.iter().all(|kind| *kind == "a"), "{started:?}");
    // Nobody could use it any more.
    pool.follow(["b"].into());
    let (_, stopped) = settle(&mut pool, at(200));
    assert_eq!(stopped, started.len());
    assert_eq!(pool.ready(), 1);
}

#[test]
fn there_are_more_of_what_is_taken_often_until_it_is_not() {
    let mut pool = pool(&["a"]);
    for second in 0..60 {
        settle(&mut pool, at(second));
        pool.take(&"a", at(second));
    }
    settle(&mut pool, at(60));
    assert_eq!(pool.ready(), MOST);
    assert!(pool.plan(at(60), &mut Vec::new()).is_some());
    settle(&mut pool, at(300));
    assert_eq!(pool.ready(), 1);
    assert_eq!(pool.plan(at(300), &mut Vec::new()), None);
}

#[test]
fn the_budget_goes_to_what_is_taken_first_and_one_comes_before_a_second() {
    let mut pool = Pool::new(StemSettings {
        budget: 30,
        ..SETTINGS
    });
    pool.follow(["a", "b", "c", "d"].into());
    for _ in 0..5 {
        assert_eq!(pool.take(&"d", at(0)), None);
    }
    let (mut started, _) = settle(&mut pool, at(0));
    started.sort_unstable();
    assert_eq!(started, ["a", "b", "d"]);
    let mut none = Pool::new(StemSettings {
        budget: 0,
        ..SETTINGS
    });
    none.follow(["a"].into());
    assert_eq!(plan(&mut none, at(0)), []);
}

#[test]
fn a_kind_that_fails_is_tried_less_and_less() {
    let mut pool = pool(&["a"]);
    let mut now = at(0);
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        let actions = plan(&mut pool, now);
        let [StemAction::Start { stem, .. }] = actions[..] else {
            panic!("{actions:?}");
        };
        pool.failed(stem, now);
        let wake = pool.plan(now, &mut Vec::new()).unwrap();
        assert_eq!(wake, now.plus(Duration::from_secs(pause)));
        now = wake;
    }
    // One that lives for a moment proves nothing, one that lives for long or is taken does.
    let lost = |pool: &mut Pool, now: Moment, lives: Duration| {
        let stem = start(pool, now);
        assert!(pool.started(stem, Some(1), now));
        let end = now.plus(lives);
        pool.plan(end, &mut Vec::new());
        pool.lost(stem, end);
        let wake = pool.plan(end, &mut Vec::new()).unwrap();
        (wake.since(end), wake)
    };
    let (pause, now) = lost(&mut pool, now, Duration::from_secs(59));
    assert_eq!(pause, LONGEST_PAUSE);
    let (pause, now) = lost(&mut pool, now, PROVEN);
    assert_eq!(pause, PAUSE);
    let (pause, now) = lost(&mut pool, now, Duration::ZERO);
    assert_eq!(pause, 2 * PAUSE);
    let stem = start(&mut pool, now);
    assert!(pool.started(stem, Some(1), now));
    assert_eq!(pool.take(&"a", now), Some(stem));
    let now = now.plus(Duration::from_secs(300));
    assert_eq!(lost(&mut pool, now, Duration::ZERO).0, PAUSE);
}

/// The one stem that is to be started now.
fn start(pool: &mut Pool, now: Moment) -> StemId {
    let actions = plan(pool, now);
    let [StemAction::Start { stem, .. }] = actions[..] else {
        panic!("{actions:?}");
    };
    stem
}

#[test]
fn an_engine_whose_starts_hang_keeps_no_other_from_starting() {
    let mut pool = pool(&["a", "b", "c", "d"]);
    let kinds = |actions: &[StemAction<&'static str>]| -> Vec<&'static str> {
        let started = actions.iter().filter_map(|action| match action {
            StemAction::Start { kind, .. } => Some(*kind),
            StemAction::Stop { .. } => None,
        });
        started.collect()
    };
    let actions = plan(&mut pool, at(0));
    assert_eq!(kinds(&actions), ["a", "c"]);
    // The first one never answers.
    let StemAction::Start { stem, .. } = actions[1] else {
        panic!("{actions:?}");
    };
    pool.started(stem, Some(10), at(1));
    assert_eq!(kinds(&plan(&mut pool, at(1))), ["d"]);
}

#[test]
fn a_stem_that_was_not_measured_counts_as_the_guess() {
    let mut pool = Pool::new(StemSettings {
        budget: 25,
        ..SETTINGS
    });
    pool.follow(["a"].into());
    for _ in 0..8 {
        pool.take(&"a", at(0));
    }
    for _ in 0..2 {
        let stem = start(&mut pool, at(0));
        assert!(pool.started(stem, None, at(0)));
    }
    assert_eq!(plan(&mut pool, at(0)), []);
}

#[test]
fn a_stem_that_nobody_wants_any_more_is_ended_when_it_has_started() {
    let mut pool = pool(&["a"]);
    let actions = plan(&mut pool, at(0));
    let [StemAction::Start { stem, .. }] = actions[..] else {
        panic!("{actions:?}");
    };
    pool.follow(BTreeSet::new());
    assert_eq!(plan(&mut pool, at(0)), []);
    assert!(!pool.started(stem, Some(10), at(0)));
    assert!(!pool.started(stem, Some(10), at(0)));
    assert_eq!(pool.ready(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Take(usize),
    Follow(usize),
    Started,
    Failed,
    Lost,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize).prop_map(Step::Take),
        (0..8_usize).prop_map(Step::Follow),
        Just(Step::Started),
        Just(Step::Failed),
        Just(Step::Lost),
        (0..100_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: never more than the budget, never more starts at once, no stem given out twice, what is stopped was there, and what failed or died
    /// is not started again at once.
    #[test]
    fn bounds_hold(steps in prop::collection::vec(step(), 0..200), budget in 0..120_u64) {
        const KINDS: [&str; 3] = ["a", "b", "c"];
        let mut pool = Pool::new(StemSettings { budget, ..SETTINGS });
        let mut now = at(0);
        let mut starting: Vec<StemId> = Vec::new();
        let mut ready: BTreeSet<StemId> = BTreeSet::new();
        let mut kinds: BTreeMap<StemId, &'static str> = BTreeMap::new();
        let mut followed: BTreeSet<&'static str> = BTreeSet::new();
        let mut not_before: BTreeMap<&'static str, Moment> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Take(kind) => if let Some(stem) = pool.take(&KINDS[kind], now) {
                    prop_assert!(ready.remove(&stem));
                },
                Step::Follow(some) => {
                    followed = (0..3).filter(|bit| some & (1 << bit) != 0).map(|bit| KINDS[bit]).collect();
                    // A kind that comes back is a new one.
                    not_before.retain(|kind, _| followed.contains(kind));
                    pool.follow(followed.clone());
                }
                Step::Started => if let Some(stem) = starting.pop() && pool.started(stem, Some(10), now) {
                    ready.insert(stem);
                },
                Step::Failed => if let Some(stem) = starting.pop() {
                    pool.failed(stem, now);
                    if followed.contains(kinds[&stem]) {
                        not_before.insert(kinds[&stem], now.plus(PAUSE));
                    }
                },
                Step::Lost => if let Some(stem) = ready.pop_first() {
                    pool.lost(stem, now);
                    if followed.contains(kinds[&stem]) {
                        not_before.insert(kinds[&stem], now.plus(PAUSE));
                    }
                },
                Step::Wait(seconds) => now = now.plus(Duration::from_secs(seconds)),
            }
            for action in plan(&mut pool, now) {
                match action {
                    StemAction::Start { stem, kind } => {
                        prop_assert!(not_before.get(kind).is_none_or(|moment| *moment <= now));
                        kinds.insert(stem, kind);
                        starting.push(stem);
                    }
                    StemAction::Stop { stem } => prop_assert!(ready.remove(&stem)),
                }
            }
            prop_assert_eq!(pool.ready(), ready.len());
            for engine in [EngineName::DOCKER, EngineName::named("runc")] {
                let here = starting.iter().filter(|stem| kinds[stem].engine() == engine);
                prop_assert!(here.count() <= SETTINGS.starts);
            }
            prop_assert!(ready.len() as u64 * 10 <= budget, "{} ready", ready.len());
        }
        let cleared: BTreeSet<StemId> = pool.clear().into_iter().collect();
        prop_assert_eq!(cleared, ready);
    }
}
