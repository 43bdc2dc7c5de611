use axum::{Json as Answer, extract::State};
use warren_model::native::{Health, HealthProblem};
use warren_registry::{Registry, Standing};
use warren_telemetry::RecordCounts;

use crate::state::Api;

/// Tell that calls are taken
///
/// Needs no key.
#[utoipa::path(get, path = "/api/v1/health", tag = "server", operation_id = "getHealth", security(()),
    responses((status = 200, description = "The server takes calls.", body = Health)))]
pub(super) async fn health(State(api): State<Api>) -> Answer<Health> {
    let snapshot = api.registry().snapshot();
    Answer(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: snapshot.revision,
        functions: snapshot.functions.len(),
        database: api.registry().store_kind().to_owned(),
        problems: {
            let mut all = problems(api.registry());
            all.extend(records(api.invoker().records().counts()));
            all
        },
    })
}

/// `GET /healthz`: the same, where load balancers and supervisors look for it.
pub(crate) async fn healthz(api: State<Api>) -> Answer<Health> {
    health(api).await
}

/// That calls have no record.
fn records(counts: RecordCounts) -> Option<HealthProblem> {
    let missing = counts.missing();
    let found = match (counts.failing, missing) {
        (false, 0) => return None,
        (true, _) => format!("can't be written; {missing} calls since the start have none"),
        (false, _) => format!("{missing} calls since the start have none"),
    };
    Some(HealthProblem {
        part: "records".to_owned(),
        found,
        next_step: "see that the database takes them in time, and that its disk has room; Warren's log and warren_records_dropped_total in /metrics say more".to_owned(),
    })
}

/// Without names, addresses and causes: whoever may ask, may be anyone. The log has them.
fn problems(registry: &Registry) -> Vec<HealthProblem> {
    let problem = |part: &str, found: String, next_step: &str| HealthProblem {
        part: part.to_owned(),
        found,
        next_step: next_step.to_owned(),
    };
    let mut problems = Vec::new();
    match registry.standing() {
        Standing::Ours => {}
        Standing::Away(_) => problems.push(problem(
            "database",
            "away: functions are called as before, changes are refused".to_owned(),
            "see that it runs and can be reached; Warren goes on by itself, and its log has the cause",
        )),
        Standing::Lost(_) => problems.push(problem(
            "database",
            "lost to another Warren, or put back to an older state: functions are called as before, changes are refused".to_owned(),
            "see who owns it (Warren's log names it), then end that one and restart this one",
        )),
    }
    let damaged = registry.snapshot().damaged.len();
    if damaged > 0 {
        problems.push(problem(
            "functions",
            format!("{damaged} can't be read from the database and are not served"),
            "correct the rows that Warren's log names, or delete the functions",
        ));
    }
    let lacking = registry.snapshot().functions_without_code();
    if lacking > 0 {
        problems.push(problem(
            "code",
            format!("that of {lacking} functions is not in the data folder; they can't be called"),
            "start Warren with the data folder that has it, copy that one's folder 'blobs' into this one, or deploy the functions again; 'warren get' says which code it is",
        ));
    }
    if let Some(why) = registry.removal_stopped() {
        problems.push(problem(
            "code removal",
            format!("stopped: {why}"),
            "see that the database is the right one and complete, or put it back; then remove 'removal-stopped' in the data folder",
        ));
    }
    problems
}
