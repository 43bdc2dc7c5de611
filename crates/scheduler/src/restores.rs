//! Whether instances of one version are better restored from a checkpoint than started: by what was measured of both.
//!
//! ```text
//!   Unknown ── a start with a slow Init ──► Wanted ── made ──► Kept ── restores are not faster ──► Off
//!      ▲                                      │                  └──── restores fail ─────────────► Off
//!      └──────────── no room for it now ──────┴── can't be made ──────────────────────────────────► Off
//! ```
//! Pure: durations in, decisions out. Times are whole, from the beginning of a start to a runtime that takes calls.

use std::time::Duration;

use crate::mean::StartMean;

/// An Init shorter than this is not worth a checkpoint: reading one back takes about as long.
const SLOW_INIT: Duration = Duration::from_millis(250);
/// Restores before they are judged.
const TRIALS: u32 = 3;
/// Restores that fail one after another before there are no more.
const MOST_FAILURES: u32 = 2;
/// Restores must take less than this part of what a start takes.
const PAYS: f64 = 0.9;

/// How an instance came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A sandbox was started for it, or one started ahead was claimed; Init ran.
    Started {
        /// Of Init alone.
        init: Duration,
    },
    /// It was restored.
    Restored,
}

/// What is known of one version on one engine.
#[derive(Debug, Default)]
pub struct Restores {
    phase: Phase,
    started: Option<StartMean>,
    restored: Option<StartMean>,
    trials: u32,
    failures: u32,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Phase {
    #[default]
    Unknown,
    Wanted,
    Kept,
    Off(String),
}

impl Restores {
    /// An instance was ready after this time. Whether a checkpoint is to be made now; [`made`](Self::made), [`put_off`](Self::put_off) or
    /// [`give_up`](Self::give_up) follows.
    pub fn opened(&mut self, origin: Origin, took: Duration) -> bool {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mean = match origin {
            Origin::Started { .. } => &mut self.started,
            Origin::Restored => &mut self.restored,
        };
        match mean {
            Some(mean) => mean.add(micros),
            None => *mean = Some(StartMean::new(micros)),
        }
        match origin {
            Origin::Restored => {
                self.trials = self.trials.saturating_add(1);
                self.failures = 0;
                self.judge();
                false
            }
            Origin::Started { init } => {
                let wanted = self.phase == Phase::Unknown && init >= SLOW_INIT;
                if wanted {
                    self.phase = Phase::Wanted;
                }
                wanted
            }
        }
    }

    /// The checkpoint is there.
    pub fn made(&mut self) {
        if self.phase == Phase::Wanted {
            self.phase = Phase::Kept;
        }
    }

    /// There was no room to make it; the next slow Init asks again.
    pub fn put_off(&mut self) {
        if self.phase == Phase::Wanted {
            self.phase = Phase::Unknown;
        }
    }

    /// It can't be made, or must not be used; why, for the owner.
    pub fn give_up(&mut self, why: String) {
        self.phase = Phase::Off(why);
    }

    /// A restore failed; why, for the owner.
    pub fn failed(&mut self, why: &str) {
        self.failures += 1;
        if self.failures >= MOST_FAILURES {
            self.give_up(format!("{MOST_FAILURES} restores failed: {why}"));
        }
    }

    /// Whether the next instance is to be restored.
    pub fn restores(&self) -> bool {
        self.phase == Phase::Kept
    }

    /// What has come of it so far, for the owner.
    pub fn describe(&self) -> String {
        let times = match (self.started, self.restored) {
            (Some(started), Some(restored)) => format!(
                "{} ms restored, {} ms started",
                restored.micros() / 1000,
                started.micros() / 1000
            ),
            (Some(started), None) => format!("{} ms started", started.micros() / 1000),
            _ => String::new(),
        };
        match &self.phase {
            Phase::Unknown if self.started.is_none() => {
                "no instance has been started yet".to_owned()
            }
            Phase::Unknown => {
                format!("not used: Init is quick, or there was no room for a checkpoint ({times})")
            }
            Phase::Wanted => format!("a checkpoint is being made ({times})"),
            Phase::Kept => format!("instances are restored ({times})"),
            Phase::Off(why) => format!("not used: {why}"),
        }
    }

    fn judge(&mut self) {
        let (Some(started), Some(restored)) = (self.started, self.restored) else {
            return;
        };
        let (started, restored) = (started.micros(), restored.micros());
        if self.trials >= TRIALS && restored as f64 >= started as f64 * PAYS {
            self.give_up(format!(
                "a restore takes {} ms and a start {} ms",
                restored / 1000,
                started / 1000
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn started(init: u64) -> Origin {
        Origin::Started { init: ms(init) }
    }

    fn kept(start: u64) -> Restores {
        let mut restores = Restores::default();
        assert!(restores.opened(started(start), ms(start)));
        restores.made();
        restores
    }

    #[test]
    fn a_quick_init_wants_no_checkpoint() {
        let mut restores = Restores::default();
        assert!(!restores.opened(started(249), ms(900)));
        assert!(!restores.restores());
        assert!(restores.opened(started(250), ms(900)));
        // Not twice at the same time.
        assert!(!restores.opened(started(250), ms(900)));
        restores.put_off();
        assert!(restores.opened(started(250), ms(900)));
        restores.made();
        assert!(restores.restores());
    }

    #[test]
    fn what_does_not_pay_is_given_up() {
        let mut restores = kept(1000);
        for _ in 0..2 {
            restores.opened(Origin::Restored, ms(950));
            assert!(restores.restores(), "{}", restores.describe());
        }
        restores.opened(Origin::Restored, ms(950));
        assert_eq!(
            restores.describe(),
            "not used: a restore takes 950 ms and a start 1000 ms"
        );
        // For good: each trial costs a caller time.
        assert!(!restores.opened(started(1000), ms(1000)));

        let mut restores = kept(1000);
        for _ in 0..20 {
            restores.opened(Origin::Restored, ms(400));
        }
        assert_eq!(
            restores.describe(),
            "instances are restored (400 ms restored, 1000 ms started)"
        );
    }

    #[test]
    fn failures_in_a_row_end_it() {
        let mut restores = kept(1000);
        restores.failed("one");
        restores.opened(Origin::Restored, ms(300));
        restores.failed("two");
        assert!(restores.restores());
        restores.failed("three");
        assert_eq!(restores.describe(), "not used: 2 restores failed: three");
    }

    proptest! {
        #[test]
        fn restores_are_only_used_when_made_and_faster(
            steps in proptest::collection::vec((0_u8..6, 0_u64..3_000), 0..60)
        ) {
            let mut restores = Restores::default();
            let (mut making, mut off) = (false, false);
            for (step, millis) in steps {
                match step {
                    0 | 1 => {
                        let wanted = restores.opened(started(millis), ms(millis));
                        prop_assert!(!wanted || (!making && !off && millis >= 250));
                        making |= wanted;
                    }
                    2 if restores.restores() => { restores.opened(Origin::Restored, ms(millis)); }
                    3 if making => { restores.made(); making = false; }
                    4 if making => { restores.put_off(); making = false; }
                    5 if restores.restores() => restores.failed("x"),
                    _ => {}
                }
                off |= matches!(restores.phase, Phase::Off(_));
                prop_assert!(!(off && restores.restores()));
                prop_assert!(!(making && restores.restores()));
                if restores.restores() && restores.trials >= TRIALS {
                    let (started, restored) = (restores.started.unwrap(), restores.restored.unwrap());
                    // A later start may be quicker than those that the last judgement saw.
                    prop_assert!(restored.micros() > 0 && started.micros() > 0);
                }
            }
        }
    }
}
