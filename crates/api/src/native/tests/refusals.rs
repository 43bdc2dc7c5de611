//! What is refused, and in which words.

use warren_client::{ClientError, InvokeRequest};
use warren_model::native::{CodeSpec, FunctionSpec, Problem};

use super::{World, kit::spec};

fn problem<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Problem {
    let mut problem = answer.unwrap_err().problem().unwrap().clone();
    assert!(!problem.request_id.is_empty());
    problem.request_id = "ID".to_owned();
    problem
}

#[tokio::test]
async fn each_refusal_names_its_member() {
    let world = World::start().await;
    let client = &world.client;
    let with = |change: &dyn Fn(&mut FunctionSpec)| {
        let mut asked = spec("x = 1");
        change(&mut asked);
        asked
    };
    for (field, asked) in [
        ("timeout_s", with(&|spec| spec.timeout_s = Some(901))),
        ("memory_mb", with(&|spec| spec.memory_mb = Some(1))),
        (
            "ephemeral_storage_mb",
            with(&|spec| spec.ephemeral_storage_mb = Some(1)),
        ),
        (
            "environment",
            with(&|spec| {
                spec.environment = Some([("AWS_REGION".to_owned(), String::new())].into())
            }),
        ),
        (
            "engine",
            with(&|spec| spec.engine = Some("steam engine".to_owned())),
        ),
        (
            "network",
            with(&|spec| spec.network = Some("all".to_owned())),
        ),
        ("runtime", with(&|spec| spec.runtime = None)),
        (
            "runtime",
            with(&|spec| spec.runtime = Some("cobol".to_owned())),
        ),
        ("code", with(&|spec| spec.code = None)),
        (
            "code",
            with(&|spec| spec.code = Some(CodeSpec::Zip("%".to_owned()))),
        ),
        (
            "code",
            with(&|spec| spec.code = Some(CodeSpec::Zip("AAAA".to_owned()))),
        ),
        (
            "routes",
            with(&|spec| spec.routes = Some(vec!["/a".to_owned()])),
        ),
        (
            "tags",
            with(&|spec| {
                spec.tags = Some([("warren:engine".to_owned(), "docker".to_owned())].into())
            }),
        ),
        (
            "description",
            with(&|spec| spec.description = Some("x".repeat(257))),
        ),
        ("name", with(&|spec| spec.name = Some("other".to_owned()))),
        (
            "reserved_concurrency",
            with(&|spec| spec.reserved_concurrency = Some(Some(901))),
        ),
    ] {
        let refused = problem(client.deploy("hello", &asked).await);
        assert_eq!(refused.field.as_deref(), Some(field), "{refused:?}");
        assert_eq!(refused.status, 400, "{refused:?}");
    }
    assert!(client.functions().await.unwrap().is_empty());
    let refused = problem(client.deploy("a b", &spec("")).await);
    assert_eq!(refused.field.as_deref(), Some("name"));
}

#[tokio::test]
async fn a_change_that_can_t_be_is_not_begun() {
    let world = World::start().await;
    let before = world.deploy("hello", &spec("x = 1")).await;
    let asked = FunctionSpec {
        network: Some("internet".to_owned()),
        routes: Some(vec!["GET /".to_owned()]),
        ..spec("x = 2")
    };
    let refused = problem(world.client.deploy("hello", &asked).await);
    assert_eq!(refused.field.as_deref(), Some("network"));
    assert_eq!(world.client.function("hello").await.unwrap(), before);
}

#[tokio::test]
async fn what_is_busy_or_taken_is_a_conflict() {
    let world = World::held().await;
    let client = &world.client;
    let mut asked = spec("x = 1");
    asked.name = Some("hello".to_owned());
    asked.routes = Some(vec!["GET /".to_owned()]);
    client.create(&asked).await.unwrap();
    let pending = problem(client.invoke("hello", InvokeRequest::default()).await);
    let updating = problem(client.update("hello", &spec("x = 2")).await);
    let again = problem(client.create(&asked).await);
    asked.name = None;
    let taken = problem(client.deploy("other", &asked).await);
    insta::assert_json_snapshot!([pending, updating, again, taken]);
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let world = World::start().await;
    let client = &world.client;
    world.deploy("hello", &spec("x = 1")).await;
    let version = InvokeRequest {
        qualifier: Some("7".to_owned()),
        ..InvokeRequest::default()
    };
    let no_json = InvokeRequest {
        payload: "{".into(),
        ..InvokeRequest::default()
    };
    insta::assert_json_snapshot!([
        problem(client.function("nobody").await),
        problem(client.delete("nobody").await),
        problem(client.invoke("hello", version).await),
        problem(client.invoke("hello", no_json).await),
    ]);
}
