//! What time alone causes: idle instances retire, calls have waited too long, a start pays by now.

use super::Scheduler;
use crate::{Action, Moment, Refusal};

impl Scheduler {
    pub(super) fn tick(&mut self, actions: &mut Vec<Action>) {
        while let Some((instance, since)) = self.instances.oldest_idle() {
            if since.plus(self.settings.idle_after) > self.now {
                break;
            }
            let Some(record) = self.instances.get(instance) else {
                break;
            };
            self.stop_idle(instance, record.pool, actions);
        }
        self.refuse_late(actions);
        self.plan(actions);
        self.wake = self.exact_wake();
    }

    /// Refuses the calls that have waited for the host for too long.
    fn refuse_late(&mut self, actions: &mut Vec<Action>) {
        let mut place = 0;
        while let Some(&key) = self.waiting.pools.get(place) {
            place += 1;
            let Some(pool) = self.pools.get_mut(&key) else {
                continue;
            };
            while let Some(call) = pool.dequeue_late(self.settings.queue_wait, self.now) {
                self.waiting.left(key, pool);
                self.limits.release(pool.spec.function);
                let refusal = match pool.last_failed() {
                    Some(instance) => Refusal::StartFailed { instance },
                    None => Refusal::HostBusy {
                        retry_after_s: pool.retry_after_s(),
                    },
                };
                actions.push(Action::Refuse { call, refusal });
                if pool.waiting() == 0 {
                    // Another pool has taken this one's place in the list.
                    place -= 1;
                }
            }
            self.forget_if_over(key);
        }
    }

    pub(super) fn wake_at(&mut self, moment: Moment) {
        self.wake = Some(self.wake.map_or(moment, |wake| wake.min(moment)));
    }

    /// The next moment at which time alone changes what to do.
    pub(super) fn exact_wake(&self) -> Option<Moment> {
        let retire = self
            .instances
            .oldest_idle()
            .map(|(_, since)| since.plus(self.settings.idle_after));
        self.waiting
            .pools
            .iter()
            .filter_map(|key| self.pools.get(key))
            .filter_map(|pool| pool.deadline(self.settings.queue_wait, self.now))
            .chain(retire)
            .min()
    }
}
