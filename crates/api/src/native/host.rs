//! What the server has to run functions: languages and engines.

use std::{sync::Arc, time::Duration};

use axum::{Json as Answer, extract::State};
use warren_invoker::Launcher;
use warren_model::native::{Engine, EngineList, Runtime, RuntimeList};

use super::refusal::{Refusal, Refused};
use crate::state::Api;

/// How long an engine may take to say whether it works.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// List languages
#[utoipa::path(get, path = "/api/v1/runtimes", tag = "server", operation_id = "listRuntimes",
    responses((status = 200, description = "All languages.", body = RuntimeList), Refused))]
pub(super) async fn runtimes(State(api): State<Api>) -> Result<Answer<RuntimeList>, Refusal> {
    let launcher = Arc::clone(api.invoker().launcher());
    // A small file is read for each tree.
    let list = tokio::task::spawn_blocking(move || list_runtimes(&launcher)).await;
    list.map(Answer).map_err(|panic| Refusal::internal(&panic))
}

fn list_runtimes(launcher: &Launcher) -> RuntimeList {
    let runtimes = launcher.catalogue.recipes().map(|recipe| {
        let tree = launcher.trees.find(recipe).unwrap_or_else(|error| {
            tracing::warn!(recipe = recipe.id, %error, "can't tell whether a tree is built");
            None
        });
        Runtime {
            id: recipe.id.clone(),
            title: recipe.title.clone(),
            family: recipe.family.clone(),
            stands_in_for: recipe.stands_in_for.clone(),
            example_handler: recipe.example_handler.clone(),
            built: tree.is_some(),
            size_mb: tree.map_or(u64::from(recipe.tree.size_mb), |tree| {
                tree.size_bytes.div_ceil(1_000_000)
            }),
            download_mb: u64::from(recipe.tree.download_mb),
        }
    });
    let rejected = launcher.catalogue.rejected().iter();
    RuntimeList {
        runtimes: runtimes.collect(),
        rejected: rejected.map(ToString::to_string).collect(),
    }
}

/// List engines
///
/// Each is asked at this moment whether it works.
#[utoipa::path(get, path = "/api/v1/engines", tag = "server", operation_id = "listEngines",
    responses((status = 200, description = "All engines.", body = EngineList), Refused))]
pub(super) async fn engines(State(api): State<Api>) -> Answer<EngineList> {
    let mut engines = Vec::new();
    for (name, engine) in &api.invoker().launcher().engines {
        let (detail, reason, next_step) = match tokio::time::timeout(PROBE_TIME, engine.probe())
            .await
        {
            Ok(Ok(found)) => (Some(found.detail), None, None),
            Ok(Err(unavailable)) => (None, Some(unavailable.reason), Some(unavailable.next_step)),
            Err(_) => (
                None,
                Some(format!(
                    "It did not answer within {} s",
                    PROBE_TIME.as_secs()
                )),
                Some("Look whether its daemon hangs, and restart that".to_owned()),
            ),
        };
        engines.push(Engine {
            name: name.to_string(),
            usable: detail.is_some(),
            default: *name == api.registry().default_engine(),
            detail,
            reason,
            next_step,
        });
    }
    Answer(EngineList { engines })
}
