use std::{convert::Infallible, time::Duration};

use axum::{
    Json as Answer,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderValue, header};
use serde::Deserialize;
use tokio::sync::watch;
use utoipa::IntoParams;
use warren_model::{
    RequestId,
    native::{LogEvent, LogLine, LogLines, LogSource, Since},
};
use warren_telemetry::{self as telemetry, Follow, Followed, Query};

use super::{
    Surroundings,
    extract::{Named, Params},
    find,
    refusal::{Kind, Refusal, Refused},
};
use crate::state::Api;

/// Lines of one answer.
const DEFAULT_LIMIT: usize = 1_000;
/// Most lines of one answer.
const MAX_LIMIT: usize = 10_000;
/// A quiet stream says an empty line so often: only writing finds out that nobody reads any more.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogParams {
    /// Lines not older than this: how long ago by the server's clock (`30s`, `10m`, `2h`, `1d`), or a moment (RFC 3339).
    since: Option<String>,
    /// Most lines, the latest ones: 0 to 10000; 1000 by default.
    limit: Option<usize>,
    /// Lines of this invocation only.
    request_id: Option<String>,
    /// Whether the answer goes on with each further line.
    #[serde(default)]
    follow: bool,
}

/// Read or follow a function's log
///
/// With `follow=true` the answer is a stream of lines of JSON, one `LogEvent` each; empty lines keep it alive.
#[utoipa::path(get, path = "/api/v1/functions/{name}/logs", tag = "functions", operation_id = "getLogs",
    params(("name" = String, Path, description = "Its name."), LogParams),
    responses(
        (status = 200, description = "Lines, oldest first.", content(
            (LogLines = "application/json"),
            (LogEvent = "application/x-ndjson"))),
        Refused))]
pub(super) async fn logs(
    State(api): State<Api>,
    State(surroundings): State<Surroundings>,
    Named(name): Named,
    Params(params): Params<LogParams>,
) -> Result<Response, Refusal> {
    let entry = find::entry(&api, &name)?;
    let logs = surroundings
        .logs
        .ok_or_else(|| Refusal::new(Kind::Unavailable, "This server keeps no logs."))?;
    let limit = params.limit.unwrap_or(DEFAULT_LIMIT);
    if limit > MAX_LIMIT {
        return Err(Refusal::field(
            "limit",
            format!("limit can't be {limit}: it must be {MAX_LIMIT} at most."),
        ));
    }
    let since: Option<Since> = params.since.map(|text| text.parse()).transpose()?;
    let query = Query {
        since_us: since.map(|since| micros(since.moment(api.now()).as_millis())),
        request: params.request_id.map(RequestId::new),
        limit,
    };
    let function = entry.function.name();
    let failed = |error: telemetry::LogError| Refusal::internal(&error);
    if !params.follow {
        let lines = logs.query(function, query).await.map_err(failed)?;
        let lines = lines.iter().map(line).collect();
        return Ok(Answer(LogLines { lines }).into_response());
    }
    let (past, follow) = logs.follow(function, query).await.map_err(failed)?;
    let mut first = Vec::new();
    for past in &past {
        write(&mut first, &LogEvent::Line(line(past)));
    }
    let first = stream::iter((!first.is_empty()).then(|| Bytes::from(first)));
    let body = first
        .chain(further(follow, surroundings.stopping))
        .map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    Ok(response)
}

/// Each further line, until the log is closed or the server stops.
fn further(follow: Follow, stopping: Option<watch::Receiver<bool>>) -> impl Stream<Item = Bytes> {
    stream::unfold((follow, stopping), async |(mut follow, mut stopping)| {
        let mut bytes = Vec::new();
        let next = tokio::select! {
            next = tokio::time::timeout(HEARTBEAT, follow.next()) => next,
            () = stopped(&mut stopping) => return None,
        };
        match next {
            Ok(None) => return None,
            Ok(Some(Followed::Line(followed))) => {
                write(&mut bytes, &LogEvent::Line(line(&followed)));
            }
            Ok(Some(Followed::Missed(missed))) => write(&mut bytes, &LogEvent::Missed { missed }),
            Err(_) => bytes.push(b'\n'),
        }
        Some((Bytes::from(bytes), (follow, stopping)))
    })
}

async fn stopped(stopping: &mut Option<watch::Receiver<bool>>) {
    match stopping {
        // A sender that is gone says that the server is, too.
        Some(stopping) => drop(stopping.wait_for(|stopping| *stopping).await),
        None => std::future::pending().await,
    }
}

fn write(to: &mut Vec<u8>, event: &LogEvent) {
    // Texts and numbers into memory: this can't fail.
    if serde_json::to_writer(&mut *to, event).is_ok() {
        to.push(b'\n');
    }
}

fn line(line: &telemetry::LogLine) -> LogLine {
    LogLine {
        time: line.timestamp().rfc3339(),
        time_us: line.time_us,
        source: match line.source {
            telemetry::Source::Platform => LogSource::Platform,
            telemetry::Source::Stdout => LogSource::Stdout,
            telemetry::Source::Stderr => LogSource::Stderr,
        },
        request_id: line.request.as_ref().map(ToString::to_string),
        log_stream: line.log_stream.as_deref().map(str::to_owned),
        text: line.text().into_owned(),
    }
}

fn micros(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0).saturating_mul(1_000)
}
