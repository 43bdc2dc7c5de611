use std::sync::Arc;

use crate::{Engine, Owner, docker::DockerEngine, host::Host, runc};

/// The engines that this build has, on this host. Nothing is asked of the host yet.
pub fn built_in(owner: &Owner, host: &Arc<Host>) -> Vec<Arc<dyn Engine>> {
    vec![
        Arc::new(DockerEngine::new(owner.clone(), Arc::clone(host))),
        runc::engine(owner.clone(), Arc::clone(host)),
    ]
}
