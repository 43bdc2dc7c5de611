//! Functions from creation to deletion.

use std::collections::BTreeMap;

use warren_model::native::{CodeSpec, FunctionSpec, LastUpdate, State};
use warren_package::zip_inline;

use super::{World, kit::spec};

#[tokio::test]
async fn a_function_is_created_read_listed_and_deleted() {
    let world = World::held().await;
    let created = world.client.deploy("hello", &spec("x = 1")).await.unwrap();
    assert!(created.created);
    assert_eq!(created.function.state, State::Pending);
    assert_eq!(created.function.state_reason, None);
    assert_eq!(created.function.last_update, None);
    world.let_through(1);
    let function = world.settled("hello").await;
    assert_eq!(function.state, State::Active);
    assert_eq!((function.timeout_s, function.memory_mb), (3, 128));
    let runs_on = function.runs_on.clone().unwrap();
    assert_eq!(runs_on.id, "python3.13");
    assert!(runs_on.stands_in);
    assert_eq!(world.client.functions().await.unwrap(), [function]);
    world.client.delete("hello").await.unwrap();
    assert!(
        world
            .client
            .function("hello")
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test]
async fn the_same_deploy_twice_changes_nothing() {
    let world = World::start().await;
    let mut asked = spec("x = 1");
    asked.routes = Some(vec!["GET /a/:id".to_owned()]);
    asked.reserved_concurrency = Some(Some(2));
    asked.tags = Some(BTreeMap::from([("a".to_owned(), "1".to_owned())]));
    let first = world.deploy("hello", &asked).await;
    assert_eq!(first.routes, ["GET /a/{id}"]);
    assert_eq!(first.reserved_concurrency, Some(2));
    let again = world.client.deploy("hello", &asked).await.unwrap();
    assert!(!again.created);
    assert_eq!(again.changed, Vec::<String>::new());
    assert_eq!(again.function, first);
}

#[tokio::test]
async fn a_deploy_changes_what_is_not_as_asked_and_no_more() {
    let world = World::start().await;
    let mut asked = spec("x = 1");
    asked.memory_mb = Some(256);
    let first = world.deploy("hello", &asked).await;
    let changes = FunctionSpec {
        timeout_s: Some(9),
        environment: Some(BTreeMap::from([("AB".to_owned(), "1".to_owned())])),
        tags: Some(BTreeMap::from([("a".to_owned(), "1".to_owned())])),
        routes: Some(vec!["ANY /".to_owned()]),
        reserved_concurrency: Some(Some(1)),
        ..spec("x = 2")
    };
    let deployed = world.client.deploy("hello", &changes).await.unwrap();
    assert_eq!(
        deployed.changed,
        [
            "tags",
            "routes",
            "reserved_concurrency",
            "code",
            "timeout_s",
            "environment"
        ]
    );
    let second = world.settled("hello").await;
    assert_eq!(second.memory_mb, 256);
    assert_eq!(second.timeout_s, 9);
    assert_ne!(second.code, first.code);
    assert_eq!(second.last_update, Some(LastUpdate::Successful));
    let removals = FunctionSpec {
        environment: Some(BTreeMap::new()),
        tags: Some(BTreeMap::new()),
        routes: Some(Vec::new()),
        reserved_concurrency: Some(None),
        ..FunctionSpec::default()
    };
    let third = world.client.update("hello", &removals).await.unwrap();
    assert_eq!(
        third.changed,
        ["tags", "routes", "reserved_concurrency", "environment"]
    );
    let third = world.settled("hello").await;
    assert!(third.environment.is_empty() && third.tags.is_empty() && third.routes.is_empty());
    assert_eq!(third.reserved_concurrency, None);
}

#[tokio::test]
async fn a_failed_preparation_says_why_and_is_tried_again() {
    let world = World::start().await;
    let broken = FunctionSpec {
        handler: Some("app.broken".to_owned()),
        ..spec("x = 1")
    };
    let failed = world.deploy("hello", &broken).await;
    assert_eq!(failed.state, State::Failed);
    assert_eq!(failed.state_reason.as_deref(), Some("It is broken."));
    let again = world.client.deploy("hello", &broken).await.unwrap();
    assert_eq!(again.changed, Vec::<String>::new());
    assert!(again.function.in_preparation());
    assert_eq!(world.settled("hello").await.state, State::Failed);
    let repaired = world.deploy("hello", &spec("x = 1")).await;
    assert_eq!(repaired.state, State::Active);
}

#[tokio::test]
async fn code_comes_in_every_form() {
    let world = World::start().await;
    let source = world.deploy("hello", &spec("x = 1")).await;
    let files = CodeSpec::Files(BTreeMap::from([("app.py".to_owned(), "x = 1".to_owned())]));
    let by_files = FunctionSpec {
        code: Some(files),
        ..spec("")
    };
    let same = world.client.deploy("hello", &by_files).await.unwrap();
    assert_eq!(same.function.code, source.code);
    let zip = zip_inline(&[("app.py", "x = 2")]).unwrap();
    let uploaded = world.client.upload("hello", zip).await.unwrap();
    assert_eq!(uploaded.changed, ["code"]);
    assert_ne!(world.settled("hello").await.code, source.code);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let world = World::start().await;
    for name in ["a", "b", "c"] {
        world.deploy(name, &spec("x = 1")).await;
    }
    let key = "Bearer WARREN1:secret";
    let page = async |query: &str| {
        let url = format!("{}/api/v1/functions?{query}", world.url);
        let request = reqwest::Client::new().get(url).header("authorization", key);
        let page: warren_model::native::FunctionPage =
            request.send().await.unwrap().json().await.unwrap();
        let names: Vec<_> = page.functions.into_iter().map(|f| f.name).collect();
        (names.join(","), page.next_cursor)
    };
    assert_eq!(
        page("limit=2").await,
        ("a,b".to_owned(), Some("b".to_owned()))
    );
    assert_eq!(page("limit=2&cursor=b").await, ("c".to_owned(), None));
    assert_eq!(page("limit=3").await, ("a,b,c".to_owned(), None));
    assert_eq!(world.client.functions().await.unwrap().len(), 3);
}
