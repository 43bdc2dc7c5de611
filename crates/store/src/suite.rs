//! What every [`Store`] must do, as one function per promise; [`all`] runs them over a maker of empty stores.

use std::collections::BTreeMap;

use warren_model::{
    Code, Config, Digest, EngineName, EphemeralStorage, Function, FunctionName, LastUpdate, Memory,
    NetworkPolicy, RevisionId, State, StateReason, Timeout, Timestamp, Version, VersionId,
};

use crate::{Contents, Record, Store, StoreError};

/// Runs the whole suite. `open(name)` opens the store of that name, which is empty at the first time and keeps what it has afterwards.
pub async fn all<S: Store, F: AsyncFn(&str) -> S>(open: F) {
    starts_empty(&open("empty").await).await;
    keeps_everything(&open, "everything").await;
    replaces_whole_functions(&open("replace").await).await;
    publishes_once(&open("publish").await).await;
    settles_states_alone(&open("settle").await).await;
    deletes_with_belongings(&open("delete").await).await;
    refuses_conflicts_without_a_trace(&open("conflicts").await).await;
    refuses_what_is_based_on_another_revision(&open("stale").await).await;
    keeps_its_server_id(&open, "server").await;
}

/// A version of `name` with every member set to something that is not its default.
pub fn version(name: &str, id: VersionId) -> Version {
    Version {
        function: function_name(name),
        id,
        revision: RevisionId::new(format!("revision-of-{name}-{id}")),
        config: Config {
            runtime: "python3.13".to_owned(),
            handler: "app.handler".to_owned(),
            role: "arn:aws:iam::000000000000:role/r".to_owned(),
            description: "a 'quoted' \u{1f407} description".to_owned(),
            timeout: Timeout::new(7).expect("in range"),
            memory: Memory::new(1024).expect("in range"),
            ephemeral_storage: EphemeralStorage::new(2048).expect("in range"),
            environment: BTreeMap::from([("KEY".to_owned(), "a\"b\\c\n".to_owned())])
                .try_into()
                .expect("valid"),
            engine: EngineName::DOCKER,
            network: NetworkPolicy::Allow(vec!["a.example:443".to_owned(), "b:1".to_owned()]),
            snap_start: true,
            inert: BTreeMap::from([(
                "TracingConfig".to_owned(),
                serde_json::json!({"Mode": "Active", "n": [1, null]}),
            )]),
        },
        code: Code {
            digest: Digest::of(name.as_bytes()),
            size: 52_428_800,
        },
        state: State::Failed,
        state_reason: Some(StateReason {
            code: "InternalError".to_owned(),
            message: "why".to_owned(),
        }),
        last_update: Some(LastUpdate::Failed),
        last_update_reason: Some(StateReason {
            code: "InvalidZip".to_owned(),
            message: String::new(),
        }),
        modified: Timestamp::from_millis(1_764_000_000_123),
    }
}

/// A function with tags and two routes.
pub fn function(name: &str) -> Function {
    Function {
        latest: version(name, VersionId::Latest),
        next_version: 3,
        tags: BTreeMap::from([
            ("team".to_owned(), "rabbits".to_owned()),
            ("warren:route".to_owned(), format!("GET /{name}/:id")),
        ]),
        // Not in the order of their texts: the owner's order is kept.
        routes: vec![
            format!("POST /{name}").parse().expect("a route"),
            format!("GET /{name}/{{id}}").parse().expect("a route"),
        ],
        reserved_concurrency: Some(5),
        created: Timestamp::from_millis(1_763_000_000_000),
    }
}

/// Bases each change on what is there.
struct Writer<'s, S>(&'s S);

impl<S: Store> Writer<'_, S> {
    async fn now(&self) -> u64 {
        self.0.load().await.expect("loads").revision
    }

    async fn load(&self) -> Result<Contents, StoreError> {
        self.0.load().await
    }

    async fn insert(&self, record: &Record) -> Result<u64, StoreError> {
        self.0.insert(self.now().await, record).await
    }

    async fn replace(&self, f: &Function, ready: Option<&Version>) -> Result<u64, StoreError> {
        self.0.replace(self.now().await, f, ready).await
    }

    async fn publish(
        &self,
        f: &Function,
        ready: Option<&Version>,
        version: &Version,
    ) -> Result<u64, StoreError> {
        self.0.publish(self.now().await, f, ready, version).await
    }

    async fn settle(
        &self,
        f: &Function,
        ready: Option<&Version>,
        versions: &[Version],
    ) -> Result<u64, StoreError> {
        self.0.settle(self.now().await, f, ready, versions).await
    }

    async fn delete(&self, name: &FunctionName) -> Result<u64, StoreError> {
        self.0.delete(self.now().await, name).await
    }

    async fn delete_version(&self, name: &FunctionName, number: u64) -> Result<u64, StoreError> {
        self.0.delete_version(self.now().await, name, number).await
    }
}

fn function_name(name: &str) -> FunctionName {
    name.parse().expect("a name")
}

fn record(name: &str) -> Record {
    Record {
        function: function(name),
        ready: None,
        versions: Vec::new(),
    }
}

async fn stored<S: Store>(store: &Writer<'_, S>) -> Vec<Record> {
    store.load().await.expect("loads").functions
}

async fn starts_empty<S: Store>(store: &S) {
    let contents = store.load().await.expect("loads");
    assert_eq!((contents.revision, contents.functions), (0, Vec::new()));
}

async fn keeps_everything<S: Store, F: AsyncFn(&str) -> S>(open: &F, name: &str) {
    let full = Record {
        function: function("b"),
        ready: Some(Version {
            revision: RevisionId::new("the-one-before"),
            state: State::Active,
            state_reason: None,
            last_update: None,
            last_update_reason: None,
            ..version("b", VersionId::Latest)
        }),
        versions: [1, 2, 10]
            .map(|n| version("b", VersionId::Number(n)))
            .to_vec(),
    };
    let bare = Record {
        function: Function {
            tags: BTreeMap::new(),
            routes: Vec::new(),
            reserved_concurrency: None,
            ..function("a")
        },
        ready: None,
        versions: Vec::new(),
    };
    let store = open(name).await;
    assert_eq!(store.insert(0, &full).await.expect("inserts"), 1);
    assert_eq!(store.insert(1, &bare).await.expect("inserts"), 2);
    drop(store);
    let contents = open(name).await.load().await.expect("loads");
    assert_eq!(contents.revision, 2);
    assert_eq!(contents.functions, vec![bare, full]);
}

async fn replaces_whole_functions<S: Store>(store: &S) {
    let store = &Writer(store);
    store.insert(&record("f")).await.expect("inserts");
    let mut changed = function("f");
    changed.latest.config.description = "changed".to_owned();
    changed.latest.last_update = None;
    changed.tags = BTreeMap::from([("other".to_owned(), String::new())]);
    changed.routes = vec!["ANY /{rest+}".parse().expect("a route")];
    changed.reserved_concurrency = None;
    changed.next_version = 4;
    let before = version("f", VersionId::Latest);
    store
        .replace(&changed, Some(&before))
        .await
        .expect("replaces");
    let expected = Record {
        function: changed.clone(),
        ready: Some(before),
        versions: Vec::new(),
    };
    assert_eq!(stored(store).await, vec![expected]);
    store.replace(&changed, None).await.expect("replaces");
    assert_eq!(stored(store).await[0].ready, None);
}

async fn publishes_once<S: Store>(store: &S) {
    let store = &Writer(store);
    store.insert(&record("f")).await.expect("inserts");
    let one = version("f", VersionId::Number(1));
    let mut function = function("f");
    function.next_version = 9;
    let revision = store
        .publish(&function, None, &one)
        .await
        .expect("publishes");
    assert_eq!(revision, 2);
    let again = store.publish(&function, None, &one).await;
    assert!(
        matches!(again, Err(StoreError::Conflict { .. })),
        "{again:?}"
    );
    let contents = store.load().await.expect("loads");
    assert_eq!(contents.revision, 2, "a failed change leaves the revision");
    assert_eq!(contents.functions[0].versions, vec![one]);
    assert_eq!(contents.functions[0].function.next_version, 9);
}

async fn settles_states_alone<S: Store>(store: &S) {
    let store = &Writer(store);
    let published = version("f", VersionId::Number(1));
    let mut whole = record("f");
    whole.versions = vec![published.clone()];
    store.insert(&whole).await.expect("inserts");
    let settled = Version {
        state: State::Active,
        state_reason: None,
        last_update: Some(LastUpdate::Successful),
        last_update_reason: None,
        ..published.clone()
    };
    let mut tampered = settled.clone();
    tampered.config.handler = "other.handler".to_owned();
    store
        .settle(&whole.function, None, &[tampered])
        .await
        .expect("settles");
    assert_eq!(stored(store).await[0].versions, vec![settled]);
}

async fn deletes_with_belongings<S: Store>(store: &S) {
    let store = &Writer(store);
    let mut whole = record("f");
    whole.versions = vec![
        version("f", VersionId::Number(1)),
        version("f", VersionId::Number(2)),
    ];
    whole.ready = Some(version("f", VersionId::Latest));
    store.insert(&whole).await.expect("inserts");
    store.insert(&record("g")).await.expect("inserts");
    store
        .delete_version(&function_name("f"), 1)
        .await
        .expect("deletes");
    assert_eq!(stored(store).await[0].versions.len(), 1);
    store.delete(&function_name("f")).await.expect("deletes");
    assert_eq!(stored(store).await, vec![record("g")]);
    // Nothing of it is left: the same name and routes can be inserted.
    store.insert(&record("f")).await.expect("inserts again");
    assert_eq!(stored(store).await, vec![record("f"), record("g")]);
}

async fn refuses_conflicts_without_a_trace<S: Store>(store: &S) {
    let store = &Writer(store);
    store.insert(&record("f")).await.expect("inserts");
    store.insert(&record("g")).await.expect("inserts");
    let before = store.load().await.expect("loads");
    let mut same_route = function("g");
    same_route.routes = function("f").routes;
    same_route.tags.clear();
    let mut fresh_same_route = record("h");
    fresh_same_route.function.routes = function("f").routes;
    for (case, result) in [
        ("insert twice", store.insert(&record("f")).await),
        ("route taken, insert", store.insert(&fresh_same_route).await),
        (
            "route taken, replace",
            store.replace(&same_route, None).await,
        ),
        ("replace nothing", store.replace(&function("x"), None).await),
        (
            "publish of nothing",
            store
                .publish(&function("x"), None, &version("x", VersionId::Number(1)))
                .await,
        ),
        (
            "settle of nothing",
            store
                .settle(&function("f"), None, &[version("f", VersionId::Number(7))])
                .await,
        ),
        ("delete nothing", store.delete(&function_name("x")).await),
        (
            "delete no version",
            store.delete_version(&function_name("f"), 7).await,
        ),
    ] {
        assert!(
            matches!(result, Err(StoreError::Conflict { .. })),
            "{case}: {result:?}"
        );
    }
    assert_eq!(store.load().await.expect("loads"), before);
}

/// A change says what it was computed from: what was read since, or will only be, is not it.
async fn refuses_what_is_based_on_another_revision<S: Store>(store: &S) {
    store.insert(0, &record("f")).await.expect("inserts");
    store.insert(1, &record("g")).await.expect("inserts");
    let before = store.load().await.expect("loads");
    for based_on in [0, 1, 3] {
        let result = store.replace(based_on, &function("f"), None).await;
        assert!(
            matches!(result, Err(StoreError::Conflict { .. })),
            "{based_on}: {result:?}"
        );
    }
    assert_eq!(store.load().await.expect("loads"), before);
}

async fn keeps_its_server_id<S: Store, F: AsyncFn(&str) -> S>(open: &F, name: &str) {
    let first = open(name).await.server_id().await.expect("an id");
    let second = open(name).await.server_id().await.expect("an id");
    assert_eq!(first, second);
    let other = open("another").await.server_id().await.expect("an id");
    assert_ne!(first, other);
}
