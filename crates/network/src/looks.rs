use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Looks that many may ask for at one time: who asks waits for one that began afterwards, and shares it with all who asked before it began.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    asked: AtomicU64,
    /// The last request that is served; held while somebody looks.
    served: Mutex<u64>,
}

impl Looks {
    /// Looks, unless somebody else does who begins from now on. Dropping it is no harm to the others.
    pub(crate) async fn after_now(&self, look: impl Future<Output = ()>) {
        let request = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut served = self.served.lock().await;
        if *served >= request {
            return;
        }
        let all = self.asked.load(Ordering::SeqCst);
        look.await;
        *served = all;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{sync::Semaphore, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn those_who_ask_at_one_time_share_a_look_that_begins_after_it() {
        let looks = Arc::new(Looks::default());
        let (begun, may_end) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let ask = || {
            let (looks, begun, may_end) = (looks.clone(), begun.clone(), may_end.clone());
            tokio::spawn(async move {
                let look = async {
                    begun.fetch_add(1, Ordering::SeqCst);
                    may_end.acquire().await.unwrap().forget();
                };
                looks.after_now(look).await;
            })
        };
        let first = ask();
        while begun.load(Ordering::SeqCst) < 1 {
            yield_now().await;
        }
        // These come when a look is under way, which may have missed what they mean.
        let others: Vec<_> = (0..10).map(|_| ask()).collect();
        while looks.asked.load(Ordering::SeqCst) < 11 {
            yield_now().await;
        }
        // One that gives up takes nobody's turn away.
        others[0].abort();
        may_end.add_permits(2);
        first.await.unwrap();
        for other in others.into_iter().skip(1) {
            other.await.unwrap();
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
