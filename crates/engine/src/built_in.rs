use std::{path::Path, sync::Arc};

use crate::{Engine, Owner, docker::DockerEngine, gvisor, host::Host, runc};

/// The engines that this build has, on this host. Nothing is asked of the host yet. `cache` is the folder that set-up keeps tools in.
pub fn built_in(owner: &Owner, host: &Arc<Host>, cache: &Path) -> Vec<Arc<dyn Engine>> {
    vec![
        Arc::new(DockerEngine::new(owner.clone(), Arc::clone(host))),
        runc::engine(owner.clone(), Arc::clone(host)),
        gvisor::engine(owner.clone(), Arc::clone(host), cache),
    ]
}
