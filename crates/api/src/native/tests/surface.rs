//! The interface as a whole: its description, its keys, and what it tells of the server.

use std::time::SystemTime;

use http::Method;
use utoipa::OpenApi;
use warren_client::{Client, InvokeRequest, Key, LogQuery};
use warren_model::native::{LogEvent, LogSource, Since};
use warren_telemetry::LogLine;

use super::{World, kit::spec};
use crate::native::openapi::Description;

#[test]
fn the_description_is_reviewed() {
    insta::assert_json_snapshot!(Description::openapi());
}

#[tokio::test]
async fn every_operation_is_there_and_closed_without_a_key() {
    let world = World::start().await;
    let http = reqwest::Client::new();
    let description = serde_json::to_value(Description::openapi()).unwrap();
    let mut asked = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let open = ["/api/v1/health", "/api/v1/openapi.json"].contains(&path.as_str());
            let url = format!("{}{}", world.url, path.replace("{name}", "hello"));
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = http.request(method.clone(), url).send().await.unwrap();
            let expected = if open { 200 } else { 401 };
            assert_eq!(answer.status(), expected, "{method} {path}");
            assert!(answer.headers().contains_key("warren-request-id"));
            asked += 1;
        }
    }
    assert_eq!(asked, 17);
}

#[tokio::test]
async fn counts_are_served_to_scrapers() {
    let world = World::start().await;
    let mut asked = spec("x = 1");
    asked.reserved_concurrency = Some(Some(0));
    world.deploy("hello", &asked).await;
    let call = InvokeRequest::default();
    assert!(world.client.invoke("hello", call).await.is_err());
    let answer = reqwest::get(format!("{}/metrics", world.url))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = answer.text().await.unwrap();
    for line in [
        "warren_invocations_total{outcome=\"ok\"} 0",
        "warren_invocations_total{outcome=\"throttled\"} 1",
        "warren_instances{state=\"idle\"} 0",
        "warren_log_dropped_lines_total 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn other_keys_paths_and_methods_are_refused() {
    let world = World::start().await;
    let stranger = Client::new(&world.url, Some(&Key::new("WARREN1", "other"))).unwrap();
    let refused = stranger.functions().await.unwrap_err();
    assert_eq!(refused.problem().unwrap().status, 401);
    let http = reqwest::Client::new();
    for (method, path, status) in [
        (Method::GET, "/api/v1/nothing", 404),
        (Method::GET, "/api/v1", 404),
        (Method::POST, "/api/v1/health", 405),
    ] {
        let url = format!("{}{path}", world.url);
        let answer = http.request(method, url).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(
            answer.headers()["content-type"],
            "application/problem+json",
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_server_tells_what_it_has() {
    let world = World::start().await;
    let client = &world.client;
    let mut asked = spec("x = 1");
    asked.routes = Some(vec!["POST /b".to_owned(), "GET /a/{id}".to_owned()]);
    world.deploy("hello", &asked).await;
    let health = client.health().await.unwrap();
    assert_eq!((health.status.as_str(), health.functions), ("ok", 1));
    let runtimes = client.runtimes().await.unwrap().runtimes;
    let python = runtimes.iter().find(|runtime| runtime.id == "python3.13");
    assert!(!python.unwrap().built);
    assert_eq!(python.unwrap().example_handler, "app.handler");
    let engines = client.engines().await.unwrap().engines;
    assert!(engines[0].usable);
    assert_eq!(engines[0].detail.as_deref(), Some("No engine at all"));
    let routes = client.routes().await.unwrap();
    assert_eq!(routes.port, Some(7071));
    let all: Vec<_> = routes
        .routes
        .iter()
        .map(|route| format!("{} {} {}", route.method, route.path, route.function))
        .collect();
    assert_eq!(all, ["GET /a/{id} hello", "POST /b hello"]);
}

#[tokio::test]
async fn logs_are_read_and_followed() {
    let world = World::start().await;
    let client = &world.client;
    world.deploy("hello", &spec("x = 1")).await;
    let name = "hello".parse().unwrap();
    let write = |text: &str| {
        let line = LogLine::platform(SystemTime::now(), None, None, text.to_owned());
        world.logs.append(&name, line);
    };
    write("first");
    write("second");
    let all = client.logs("hello", &LogQuery::default()).await.unwrap();
    let texts: Vec<_> = all.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["first", "second"]);
    assert_eq!(all[0].source, LogSource::Platform);
    let last = LogQuery {
        since: Some("1h".parse::<Since>().unwrap()),
        limit: Some(1),
        request_id: None,
    };
    let mut follow = client.follow_logs("hello", &last).await.unwrap();
    let mut next = async || match follow.next().await.unwrap() {
        Some(LogEvent::Line(line)) => line.text,
        other => panic!("{other:?}"),
    };
    assert_eq!(next().await, "second");
    write("third");
    assert_eq!(next().await, "third");
    world.logs.delete(&name).await.unwrap();
    assert_eq!(follow.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_follower_does_not_keep_the_server_from_stopping() {
    let world = World::start().await;
    world.deploy("hello", &spec("x = 1")).await;
    let query = LogQuery::default();
    let mut follow = world.client.follow_logs("hello", &query).await.unwrap();
    world.stop.send_replace(true);
    assert_eq!(follow.next().await.unwrap(), None);
}
