//! The second address: functions' own routes. No framework here, since this is the hot path.
//!
//! ```text
//! request ─► RouteTable ─► body (limit) ─► event 2.0 ─► invoker ─► answer (structured or bare) ─► response
//! ```

mod answer;
mod event;
mod refusal;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use tokio::net::TcpListener;
use warren_invoker::Invocation;
use warren_model::{Outcome, RequestId, RouteMatch, TraceHeader, limits::MAX_SYNC_PAYLOAD};

use self::{event::Event, refusal::Refusal};
use crate::{edge, state::Api};

/// Most bytes of headers, names and values together: API Gateway takes 10,240, and a proxy in front may add some.
const MAX_HEADERS: usize = 16 * 1024;
/// The request's id, under both names that clients look for.
const REQUEST_IDS: [HeaderName; 2] = [
    HeaderName::from_static("x-amzn-requestid"),
    HeaderName::from_static("apigw-requestid"),
];

/// Serves the routes until `shutdown`, with the limits of the edge.
pub async fn serve_routes(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) {
    let busy_poll = api.invoker().busy_poll().clone();
    let make = |peer: SocketAddr| {
        let api = api.clone();
        let source = peer.ip().to_canonical();
        service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(handle(&api, request, source).await) }
        })
    };
    edge::serve(listener, edge::CONNECTIONS, busy_poll, make, shutdown).await;
}

async fn handle(api: &Api, request: Request<Incoming>, source: IpAddr) -> Response<Full<Bytes>> {
    let request_id = RequestId::random();
    let mut response = match answer(api, request, source, &request_id).await {
        Ok(response) => response,
        Err(refusal) => refusal.respond(&request_id),
    };
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        for name in REQUEST_IDS {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

async fn answer(
    api: &Api,
    request: Request<Incoming>,
    source: IpAddr,
    request_id: &RequestId,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let method = parts.method.as_str();
    let path = parts.uri.path();
    if header_bytes(&parts.headers) > MAX_HEADERS {
        return Err(Refusal::head_too_large(MAX_HEADERS));
    }
    let snapshot = api.registry().snapshot();
    let (route_key, name, parameters) = match snapshot.routes.find(method, path) {
        RouteMatch::Found {
            route,
            target,
            parameters,
        } => (route.to_string(), target.clone(), parameters),
        RouteMatch::MethodNotAllowed(allowed) => {
            return Err(Refusal::method_not_allowed(method, &allowed));
        }
        RouteMatch::NotFound => return Err(Refusal::not_found(method, path)),
    };
    let body = edge::read_body(api.bodies(), &parts.headers, body, MAX_SYNC_PAYLOAD, |_| {})
        .await
        .map_err(|error| Refusal::body(&error))?;
    let account = api.account();
    let event = Event {
        method,
        path,
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: &body,
        route_key: &route_key,
        parameters: &parameters,
        request_id,
        account: &account.id,
        source,
        now: api.now(),
    };
    let payload = event.write();
    // The event has all of it.
    drop(body);
    if payload.len() > MAX_SYNC_PAYLOAD {
        return Err(Refusal::event_too_large(payload.len()));
    }
    let payload = api.bodies().hold(payload).ok_or_else(Refusal::no_memory)?;
    let trace = parts.headers.get("x-amzn-trace-id");
    let trace = trace.and_then(|value| TraceHeader::of_caller(value.to_str().ok()?));
    // What the route was found in serves the first try as well.
    let mut found = Some(snapshot);
    let find = || {
        let snapshot = found.take();
        let snapshot = snapshot.unwrap_or_else(|| api.registry().snapshot());
        let version = snapshot
            .ready(&name, None)
            .map_err(|error| Refusal::not_ready(&error))?;
        let timeout_s = version.config.timeout.get();
        let invocation = Invocation {
            version: version.clone(),
            engine: None,
            request_id: request_id.clone(),
            payload: payload.clone(),
            arn: account.function_arn(&name),
            client_context: None,
            trace: trace.clone(),
            tail: false,
        };
        Ok::<_, Refusal>((invocation, timeout_s))
    };
    let (completed, timeout_s) = api.invoke(arrived, find).await?;
    match completed.outcome {
        Outcome::Answer(bytes) => {
            answer::translate(&bytes).map_err(|error| Refusal::malformed(&error))
        }
        Outcome::Error(_) => Err(Refusal::raised()),
        Outcome::Failed(failure) => Err(Refusal::failed(&failure, timeout_s)),
    }
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}
