//! Tags, routes and reserved concurrency.

use std::collections::BTreeMap;

use warren_model::{EngineName, Route, RouteMatch, Tags};

use super::kit::*;
use crate::{ConfigPatch, Guard, Registry, RegistryError};

fn route(text: &str) -> Route {
    text.parse().unwrap()
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn target(registry: &Registry, method: &str, path: &str) -> Option<String> {
    match registry.snapshot().routes.find(method, path) {
        RouteMatch::Found { target, .. } => Some(target.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn routes_lead_to_their_function_alone() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    let mut new = function("f");
    new.routes = vec![route("GET /items/{id}")];
    new.tags = tags(&[
        ("warren:route", "POST /items"),
        ("warren:route.2", "GET /items/:id"),
    ]);
    let created = registry.create(new).await.unwrap();
    assert_eq!(
        created.function.routes,
        vec![route("GET /items/{id}"), route("POST /items")]
    );
    assert_eq!(target(&registry, "GET", "/items/7").as_deref(), Some("f"));

    let mut other = function("g");
    other.routes = vec![route("GET /items/{other}")];
    let refused = registry.create(other).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "The route 'GET /items/{other}' is the same as 'GET /items/{id}' of the function f. Change one of them, or remove it there first."
    );
    registry.create(function("g")).await.unwrap();
    let g = name("g");
    let refused = registry.set_routes(&g, vec![route("POST /items")]).await;
    assert!(matches!(refused, Err(RegistryError::RouteTaken { .. })));
    let refused = registry
        .set_tags(&g, tags(&[("warren:route", "POST /items")]))
        .await;
    assert!(matches!(refused, Err(RegistryError::RouteTaken { .. })));
    let own = vec![route("GET /{a}"), route("GET /{b}")];
    let refused = registry.set_routes(&g, own).await;
    assert!(matches!(refused, Err(RegistryError::RouteTaken { .. })));

    // A move: removed there, then added here.
    registry
        .set_routes(&name("f"), vec![route("GET /only")])
        .await
        .unwrap();
    registry
        .set_routes(&g, vec![route("POST /items"), route("POST /items")])
        .await
        .unwrap();
    assert_eq!(target(&registry, "POST", "/items").as_deref(), Some("g"));
    assert_eq!(target(&registry, "GET", "/only").as_deref(), Some("f"));
    registry.delete(&g, None).await.unwrap();
    assert_eq!(target(&registry, "POST", "/items"), None);
}

#[tokio::test]
async fn tags_and_what_they_state_agree() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    registry.create(function("f")).await.unwrap();
    let before = settled(&registry, "f").await;
    let f = name("f");

    let set = tags(&[("warren:route", "GET /a/:id"), ("team", "x")]);
    let function = registry.set_tags(&f, set).await.unwrap();
    assert_eq!(function.routes, vec![route("GET /a/{id}")]);
    // Tags change no code: the revision, and so the instances, stay.
    assert_eq!(function.latest, *before);

    let routes = vec![route("GET /b/{id}"), route("ANY /files/{rest+}")];
    let function = registry.set_routes(&f, routes).await.unwrap();
    assert_eq!(
        function.tags,
        tags(&[
            ("team", "x"),
            ("warren:route", "GET /b/:id"),
            ("warren:route.2", "ANY /files/:rest+")
        ])
    );
    let keys = ["warren:route".to_owned(), "absent".to_owned()];
    let function = registry.remove_tags(&f, &keys).await.unwrap();
    assert_eq!(function.routes, vec![route("ANY /files/{rest+}")]);
    let function = registry.set_tags(&f, tags(&[("team", "y")])).await.unwrap();
    assert_eq!(function.routes, vec![route("ANY /files/{rest+}")]);
    let many: Tags = (0..50).map(|i| (format!("k{i}"), String::new())).collect();
    assert!(registry.set_tags(&f, many).await.is_err());
}

#[tokio::test]
async fn the_tag_of_the_engine_is_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    let mut new = function("f");
    new.tags = tags(&[("warren:engine", "docker")]);
    let created = registry.create(new).await.unwrap();
    assert_eq!(created.function.latest.config.engine, EngineName::DOCKER);
    let before = settled(&registry, "f").await;
    let f = name("f");
    let unknown = registry
        .set_tags(&f, tags(&[("warren:engine", "an abacus")]))
        .await;
    assert!(matches!(unknown, Err(RegistryError::Invalid(_))));
    // The same engine is no update.
    let same = registry
        .set_tags(&f, tags(&[("warren:engine", "docker")]))
        .await
        .unwrap();
    assert_eq!(same.latest, *before);
    // Each other engine is one, in both directions.
    for engine in ["runc", "another"].map(EngineName::named) {
        let set = tags(&[("warren:engine", engine.as_str())]);
        let function = registry.set_tags(&f, set).await.unwrap();
        assert_eq!(function.latest.config.engine, engine);
        assert_ne!(function.latest.revision, before.revision);
        settled(&registry, "f").await;
        let patch = ConfigPatch {
            engine: Some(EngineName::DOCKER),
            ..ConfigPatch::default()
        };
        registry
            .update_config(&f, patch, &Guard::default())
            .await
            .unwrap();
        settled(&registry, "f").await;
        let snapshot = registry.snapshot();
        assert_eq!(
            snapshot.function(&f).unwrap().function.tags["warren:engine"],
            "docker"
        );
    }
}

#[tokio::test]
async fn concurrency_is_reserved_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let registry = world.open().await;
    registry.create(function("f")).await.unwrap();
    let before = settled(&registry, "f").await;
    let f = name("f");
    let function = registry
        .set_reserved_concurrency(&f, Some(3))
        .await
        .unwrap();
    assert_eq!(function.reserved_concurrency, Some(3));
    assert_eq!(function.latest, *before);
    let function = registry.set_reserved_concurrency(&f, None).await.unwrap();
    assert_eq!(function.reserved_concurrency, None);
    let unknown = registry.set_reserved_concurrency(&name("g"), None).await;
    assert!(matches!(unknown, Err(RegistryError::NotFound(_))));
    let none = registry.set_tags(&name("g"), BTreeMap::new()).await;
    assert!(matches!(none, Err(RegistryError::NotFound(_))));
}

#[tokio::test]
async fn reservations_leave_some_for_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    let reserving = |text: &str, reserved| {
        let mut new = function(text);
        new.reserved_concurrency = Some(reserved);
        new
    };
    let created = registry.create(reserving("f", 500)).await.unwrap();
    assert_eq!(created.function.reserved_concurrency, Some(500));
    let refused = registry.create(reserving("g", 401)).await.unwrap_err();
    assert!(matches!(
        refused,
        RegistryError::TooMuchReserved {
            min_unreserved: 100
        }
    ));
    assert!(registry.snapshot().function(&name("g")).is_none());
    registry.create(function("g")).await.unwrap();
    // Two that fit alone, at the same time: the second one is refused.
    let (f, g) = (name("f"), name("g"));
    let (one, other) = tokio::join!(
        registry.set_reserved_concurrency(&f, Some(600)),
        registry.set_reserved_concurrency(&g, Some(400)),
    );
    assert_ne!(one.is_ok(), other.is_ok());
    registry
        .set_reserved_concurrency(&f, Some(0))
        .await
        .unwrap();
    registry
        .set_reserved_concurrency(&g, Some(900))
        .await
        .unwrap();
    assert_eq!(registry.snapshot().reserved_concurrency(), 900);
}
