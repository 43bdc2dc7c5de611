//! Another function that is called from the first attack to the last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::{engine::Agent, world::World};

pub(crate) struct Neighbour {
    answered: Arc<AtomicUsize>,
    calls: JoinHandle<()>,
}

impl Neighbour {
    /// Its every answer is held against what it must be.
    pub(crate) async fn start(world: &Arc<World>) -> Self {
        let function = world.deploy("neighbour", Agent::Told, 60).await;
        let answered = Arc::new(AtomicUsize::new(0));
        let calls = {
            let (world, answered) = (Arc::clone(world), Arc::clone(&answered));
            tokio::spawn(async move {
                loop {
                    world.assert_right(&function).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        };
        let neighbour = Self { answered, calls };
        neighbour.assert_answers().await;
        neighbour
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Another right answer comes.
    pub(crate) async fn assert_answers(&self) {
        let before = self.answered();
        while self.answered() == before {
            assert!(
                !self.calls.is_finished(),
                "the neighbour was answered wrong"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.calls.abort();
    }
}
