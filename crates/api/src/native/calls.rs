//! Records of calls.

use axum::{Json as Answer, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use warren_model::{
    CallEnd, CallRecord, EngineName, FunctionName, Timestamp,
    native::{Call, CallPage, Since},
};
use warren_telemetry::{CallFilter, PlacedCall, RecordsError};

use super::{
    extract::{Named, Params},
    find,
    refusal::{Kind, Refusal, Refused},
};
use crate::state::Api;

/// Records of one page.
const DEFAULT_PAGE: u32 = 100;
/// Most records of one page.
const MAX_PAGE: u32 = 1_000;
/// When to ask again for records that are behind, in seconds.
const RETRY_AFTER_S: u32 = 5;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CallParams {
    /// Calls on this engine only.
    engine: Option<String>,
    /// Calls with this outcome only: `answer`, `error`, `failed` or `refused`.
    outcome: Option<String>,
    /// Calls that arrived no earlier than this: how long ago by the server's clock (`30s`, `10m`, `2h`, `1d`), or a moment (RFC 3339).
    since: Option<String>,
    /// Most calls of the page: 1 to 1000; 100 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AllCallParams {
    /// Calls of this function only; it need not exist any more.
    function: Option<String>,
    /// Calls on this engine only.
    engine: Option<String>,
    /// Calls with this outcome only: `answer`, `error`, `failed` or `refused`.
    outcome: Option<String>,
    /// Calls that arrived no earlier than this: how long ago by the server's clock (`30s`, `10m`, `2h`, `1d`), or a moment (RFC 3339).
    since: Option<String>,
    /// Most calls of the page: 1 to 1000; 100 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List calls
///
/// The records of calls, latest first, page by page.
#[utoipa::path(get, path = "/api/v1/calls", tag = "functions", operation_id = "listCalls",
    params(AllCallParams),
    responses((status = 200, description = "A page of calls.", body = CallPage), Refused))]
pub(super) async fn list(
    State(api): State<Api>,
    Params(all): Params<AllCallParams>,
) -> Result<Answer<CallPage>, Refusal> {
    let function = all.function.map(|name| {
        name.parse::<FunctionName>().map_err(|_| {
            Refusal::field("function", format!("'{name}' can't be a function's name."))
                .next("Leave the parameter out for the calls of all functions.")
        })
    });
    let params = CallParams {
        engine: all.engine,
        outcome: all.outcome,
        since: all.since,
        limit: all.limit,
        cursor: all.cursor,
    };
    page(&api, function.transpose()?, params).await
}

/// List the calls of a function
///
/// The records of its calls, latest first, page by page.
#[utoipa::path(get, path = "/api/v1/functions/{name}/calls", tag = "functions", operation_id = "listCallsOfFunction",
    params(("name" = String, Path, description = "Its name."), CallParams),
    responses((status = 200, description = "A page of calls.", body = CallPage), Refused))]
pub(super) async fn of_function(
    State(api): State<Api>,
    Named(name): Named,
    Params(params): Params<CallParams>,
) -> Result<Answer<CallPage>, Refusal> {
    let entry = find::entry(&api, &name)?;
    page(&api, Some(entry.function.name().clone()), params).await
}

async fn page(
    api: &Api,
    function: Option<FunctionName>,
    params: CallParams,
) -> Result<Answer<CallPage>, Refusal> {
    let limit = params.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Refusal::field(
            "limit",
            format!("limit can't be {limit}: it must be between 1 and {MAX_PAGE}."),
        ));
    }
    let engine = params.engine.map(|name| name.parse::<EngineName>());
    let engine = engine.transpose()?;
    if let Some(engine) = engine {
        let known = api.invoker().launcher().knows(engine);
        known.map_err(|reason| Refusal::field("engine", reason))?;
    }
    if let Some(outcome) = &params.outcome
        && !CallEnd::OUTCOMES.contains(&outcome.as_str())
    {
        let known = CallEnd::OUTCOMES.join(", ");
        return Err(Refusal::field(
            "outcome",
            format!("outcome can't be '{outcome}': it is one of {known}."),
        ));
    }
    let since: Option<Since> = params.since.map(|text| text.parse()).transpose()?;
    let cursor = params.cursor.map(|cursor| {
        cursor
            .parse()
            .map_err(|_| Refusal::field("cursor", "The cursor is not one that this server gave."))
    });
    let records = api.invoker().records();
    let filter = CallFilter {
        function,
        engine,
        outcome: params.outcome,
        since_us: since.map(|since| {
            let millis = since.moment(api.now()).as_millis();
            u64::try_from(millis).unwrap_or(0).saturating_mul(1_000)
        }),
        before: cursor.transpose()?,
        // One more tells whether there are more.
        limit: limit + 1,
    };
    let mut found = records.find(&filter).await.map_err(refusal)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().map(|placed| placed.id.to_string());
    Ok(Answer(CallPage {
        calls: found.into_iter().map(call).collect(),
        next_cursor: last.filter(|_| more),
        dropped: records.counts().missing(),
    }))
}

fn refusal(error: RecordsError) -> Refusal {
    match error {
        RecordsError::Off => Refusal::new(Kind::Unavailable, "This server does not record calls.")
            .next("Start it without --records off."),
        RecordsError::Late => Refusal {
            retry_after_s: Some(RETRY_AFTER_S),
            ..Refusal::new(
                Kind::Unavailable,
                "The latest calls are not recorded yet: the database does not take them in time.",
            )
            .next("Ask again later; if this lasts, see that the database can be reached.")
        },
        RecordsError::Store(_) => {
            tracing::warn!(error = warren_model::chain(&error), "records can't be read");
            Refusal {
                retry_after_s: Some(RETRY_AFTER_S),
                ..Refusal::new(Kind::Unavailable, "The records can't be read now.")
                    .next("See that the database can be reached, or look at fewer calls with since; the server's log has the cause.")
            }
        }
    }
}

fn call(placed: PlacedCall) -> Call {
    let answered_us = placed.call.answered_us();
    let CallRecord {
        source,
        request,
        arrived_us,
        attempts,
        queued_us,
        wait,
        wait_us,
        init_us,
        init_again_us,
        instance_init_us,
        handler_us,
        closing_us,
        bytes_in,
        bytes_out,
        cpu,
        peak_bytes,
        end,
        error_type,
        trace,
    } = placed.call;
    let (outcome, reason) = end.words();
    let arrived_ms = i64::try_from(arrived_us / 1_000).unwrap_or(i64::MAX);
    Call {
        request_id: request.to_string(),
        function: source.function.to_string(),
        version: source.version.clone(),
        revision: source.revision.to_string(),
        engine: source.engine.to_string(),
        instance: source.instance.as_ref().map(ToString::to_string),
        node: source.node.clone(),
        boot: source.boot,
        arrived: Timestamp::from_millis(arrived_ms).rfc3339(),
        arrived_us,
        attempts,
        queued_us,
        wait: wait.as_str().to_owned(),
        wait_us,
        init_us,
        init_again_us,
        instance_init_us,
        handler_us,
        answered_us,
        closing_us,
        bytes_in,
        bytes_out,
        cpu_us: cpu.map(|cpu| cpu.us),
        cpu_calls: cpu.map(|cpu| cpu.calls),
        peak_bytes,
        outcome: outcome.to_owned(),
        reason: reason.map(str::to_owned),
        error_type,
        trace,
    }
}
