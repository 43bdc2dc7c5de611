use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Runtime {
    /// The AWS runtime id.
    #[schema(example = "python3.13")]
    pub id: String,
    /// For people.
    #[schema(example = "Python 3.13")]
    pub title: String,
    /// Recipes of one language have the same.
    #[schema(example = "python")]
    pub family: String,
    /// Other AWS ids that run on it.
    pub stands_in_for: Vec<String>,
    /// A handler in its way.
    #[schema(example = "app.handler")]
    pub example_handler: String,
    /// Whether its root file system is there; if not, the first deploy builds it.
    pub built: bool,
    /// Size of the root file system, in MB; roughly, while it is not built.
    pub size_mb: u64,
    /// What building it downloads, in MB, roughly.
    pub download_mb: u64,
}

/// All languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuntimeList {
    /// In the order of their ids.
    pub runtimes: Vec<Runtime>,
    /// Recipes of the user's own that can't be used, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<String>,
}

/// One isolation technology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = EngineStatus)]
pub struct Engine {
    /// As functions name it.
    #[schema(example = "docker")]
    pub name: String,
    /// Whether it works on the server's host.
    pub usable: bool,
    /// Whether new functions that name no engine get it.
    pub default: bool,
    /// What was found; absent if it is not usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Why it is not usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the operator can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

/// All engines of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineList {
    /// In the order of their names.
    pub engines: Vec<Engine>,
}

/// One HTTP route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteEntry {
    /// An HTTP method, or `ANY`.
    #[schema(example = "GET")]
    pub method: String,
    /// With its parameters in braces.
    #[schema(example = "/items/{id}")]
    pub path: String,
    /// The function that answers.
    pub function: String,
}

/// All HTTP routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteList {
    /// In the order of their paths.
    pub routes: Vec<RouteEntry>,
    /// Port of the address on which they are served; absent if the server does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// That the server takes calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// Of Warren.
    pub version: String,
    /// Of the last change of any function.
    pub revision: u64,
    /// How many there are.
    pub functions: usize,
    /// What they are kept in: `sqlite` or `postgres`.
    #[serde(default)]
    #[schema(example = "sqlite")]
    pub database: String,
    /// What is not as it should be while calls are taken; no more than anybody may know.
    #[serde(default)]
    pub problems: Vec<HealthProblem>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthProblem {
    /// `database`, `functions`, `code`, `code removal` or `records`.
    #[schema(example = "database")]
    pub part: String,
    /// How it is.
    pub found: String,
    /// What mends it.
    pub next_step: String,
}
