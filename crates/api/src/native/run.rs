mod answer;
mod input;
mod spec;

use axum::{body::Body, extract::State};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use tokio::task::spawn_blocking;
use warren_model::{
    limits::MAX_CONTROL_REQUEST,
    native::{RUN_TYPE, RunResult, RunSpec},
};

use super::refusal::{Kind, Refusal, Refused};
use crate::{
    edge::{self, BodyError},
    state::Api,
};

/// Run a program once
///
/// A fresh sandbox, the program in it, its output and exit status; no function is made and nothing is kept. The status is 200 however the program ended.
/// A body of `application/json` is the whole request. A body of `application/vnd.warren.run` is the request as JSON on one line, a line feed, and then
/// the program's standard input to the end of the body. With `Accept: application/vnd.warren.run` the answer streams, in frames of one byte of kind
/// (1 standard output, 2 standard error, 3 still alive, 4 the end: a `RunEnd` as JSON), four bytes of length (big-endian) and the payload; without it the
/// answer is one JSON document, before which spaces may come while the program runs. A run ends when its client goes away.
#[utoipa::path(post, path = "/api/v1/run", tag = "functions", operation_id = "run",
    request_body(content((RunSpec = "application/json"), (RunSpec = "application/vnd.warren.run")), description = "What to run."),
    responses(
        (status = 200, description = "What the program wrote, and how it ended.", content((RunResult = "application/json"), (String = "application/vnd.warren.run"))),
        Refused))]
pub(super) async fn run(
    State(api): State<Api>,
    request: Request<Body>,
) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let streams = has(&head.headers, header::ACCEPT);
    let (line, rest) = match has(&head.headers, header::CONTENT_TYPE) {
        true => {
            let line = edge::read_line(api.bodies(), body, MAX_CONTROL_REQUEST);
            let (line, rest) = line.await?;
            // From here on it is read to its end whatever comes of the request.
            (line, Some(input::of_body(rest)))
        }
        false => {
            let whole = edge::read_body(
                api.bodies(),
                &head.headers,
                body,
                MAX_CONTROL_REQUEST,
                |_| {},
            );
            (whole.await?, None)
        }
    };
    let (spec, given) = read(line.clone()).await?;
    let request = spec::request(&api, spec, streams).await?;
    let given = match given {
        Some(bytes) => Some(api.bodies().hold(bytes).ok_or(BodyError::Busy)?),
        None => None,
    };
    // What was made of it is counted by now.
    drop(line);
    let input = match (rest, given) {
        (Some(_), Some(_)) => {
            return Err(Refusal::field(
                "input",
                "The input is the rest of the body here, and can't be a member of the request as well.",
            )
            .next("Leave out 'input' and 'input_base64', or send the request as application/json."));
        }
        (Some(rest), None) => rest,
        (None, given) => input::of_bytes(given.unwrap_or_default()),
    };
    let run = api.invoker().run(request, input).await?;
    Ok(match streams {
        true => answer::frames(run.events),
        false => answer::document(run.events),
    })
}

/// Whether a header names the media type of streams.
fn has(headers: &HeaderMap, name: header::HeaderName) -> bool {
    headers.get_all(name).iter().any(|value| {
        let Ok(text) = value.to_str() else {
            return false;
        };
        let mut types = text.split([',', ';']).map(str::trim);
        types.any(|kind| kind.eq_ignore_ascii_case(RUN_TYPE))
    })
}

/// The request and the input that it has itself. Off this thread, which others wait for: it may have 70 MB.
async fn read(line: Bytes) -> Result<(RunSpec, Option<Vec<u8>>), Refusal> {
    let work = move || {
        let mut spec: RunSpec = serde_json::from_slice(&line).map_err(|error| {
            let detail = format!("The request is not the JSON that is expected: {error}.");
            Refusal::new(Kind::Invalid, detail).next("GET /api/v1/openapi.json describes it.")
        })?;
        let input = spec::input(&mut spec)?;
        Ok((spec, input))
    };
    spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(Refusal::internal(&panic)))
}
