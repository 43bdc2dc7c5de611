use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, EngineName, Environment, EphemeralStorage, FunctionName, Invalid, Memory,
    NetworkPolicy, RevisionId, Route, Tags, Timeout, Timestamp, limits::MAX_DESCRIPTION,
};

/// `$LATEST` or a published, immutable number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum VersionId {
    /// What the next update changes.
    Latest,
    /// A published version, from 1.
    Number(u64),
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl FromStr for VersionId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "$LATEST" {
            return Ok(Self::Latest);
        }
        match text.parse() {
            Ok(number) if number > 0 && !text.starts_with(['0', '+']) => Ok(Self::Number(number)),
            _ => Err(Invalid::constraint(
                "functionVersion",
                text,
                "Member must satisfy regular expression pattern: (\\$LATEST|[0-9]+)",
            )),
        }
    }
}

impl TryFrom<String> for VersionId {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<VersionId> for String {
    fn from(version: VersionId) -> Self {
        version.to_string()
    }
}

/// Whether a version can be invoked.
///
/// ```text
///   Pending ──► Active
///      └──────► Failed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Its code or language tree is being prepared.
    Pending,
    /// It can be invoked.
    Active,
    /// Preparation failed; the reason is kept.
    Failed,
}

/// How the last update went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LastUpdate {
    /// Being prepared; another update is refused meanwhile.
    InProgress,
    /// In force.
    Successful,
    /// Not in force; the reason is kept.
    Failed,
}

/// Why a version or update is in its state: Lambda's code and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReason {
    /// Such as `Creating` or `InternalError` (Lambda's `StateReasonCode`).
    pub code: String,
    /// For people: what failed and the next step.
    pub message: String,
}

/// The code of a version: a zip in the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Of the zip.
    pub digest: Digest,
    /// Of the zip, in bytes.
    pub size: u64,
}

/// Settings that Warren stores and echoes but that have no effect yet, by Lambda's member names (`VpcConfig`, `TracingConfig`, ...).
pub type InertSettings = BTreeMap<String, serde_json::Value>;

/// What an owner chooses about a version, besides its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The AWS runtime id as given, such as `python3.12`; the tree that serves it is the catalogue's choice.
    pub runtime: String,
    /// `module.function`, or free text for `provided` runtimes.
    pub handler: String,
    /// Stored; checked for its pattern only.
    pub role: String,
    /// Free text.
    pub description: String,
    /// Longest invocation.
    pub timeout: Timeout,
    /// Memory limit and processor share.
    pub memory: Memory,
    /// Size of `/tmp`.
    pub ephemeral_storage: EphemeralStorage,
    /// The owner's variables.
    pub environment: Environment,
    /// The isolation that runs it.
    pub engine: EngineName,
    /// What it may reach.
    pub network: NetworkPolicy,
    /// Whether its instances may be copies of one whose Init is over (Lambda's SnapStart): what Init made, they share.
    pub snap_start: bool,
    /// Stored and echoed, without effect yet.
    pub inert: InertSettings,
}

impl Config {
    /// Checks what the types of the members don't: lengths of handler and description, pattern of the role.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.handler.is_empty()
            || self.handler.len() > 128
            || self.handler.contains(char::is_whitespace)
        {
            return Err(Invalid::constraint(
                "handler",
                &self.handler,
                "Member must satisfy regular expression pattern: [^\\s]+ and have length less than or equal to 128",
            ));
        }
        if self.description.chars().count() > MAX_DESCRIPTION {
            return Err(Invalid::constraint(
                "description",
                &self.description,
                format!("Member must have length less than or equal to {MAX_DESCRIPTION}"),
            ));
        }
        Invalid::check_no_nul("handler", "The handler", &self.handler)?;
        Invalid::check_no_nul("description", "The description", &self.description)?;
        if !is_role(&self.role) {
            return Err(Invalid::constraint(
                "role",
                &self.role,
                "Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
            ));
        }
        Ok(())
    }
}

fn is_role(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let (arn, partition, service, region, account, resource) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    );
    arn == Some("arn")
        && partition.is_some_and(|p| p.is_empty() || p.starts_with("aws"))
        && service == Some("iam")
        && region == Some("")
        && account.is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()))
        && resource
            .and_then(|r| r.strip_prefix("role"))
            .is_some_and(|name| {
                !name.trim_start_matches('/').is_empty()
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b))
            })
}

/// One state of a function that can be invoked: `$LATEST` at some revision, or a published number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The function.
    pub function: FunctionName,
    /// Which one.
    pub id: VersionId,
    /// Changed by every update of code or configuration; the key of its instances.
    pub revision: RevisionId,
    /// What the owner chose.
    pub config: Config,
    /// The code.
    pub code: Code,
    /// Whether it can be invoked.
    pub state: State,
    /// Why it is not active.
    pub state_reason: Option<StateReason>,
    /// How the last update went; none while a function is being created.
    pub last_update: Option<LastUpdate>,
    /// Why the last update is not in force.
    pub last_update_reason: Option<StateReason>,
    /// Of the last change.
    pub modified: Timestamp,
}

/// A function: what holds for all its versions, and `$LATEST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// `$LATEST`; its name is the function's.
    pub latest: Version,
    /// Number that the next published version gets; never used again, even after a deletion of the version.
    pub next_version: u64,
    /// Free labels, `warren:` ones included.
    pub tags: Tags,
    /// Where it is served over HTTP.
    pub routes: Vec<Route>,
    /// Concurrent invocations kept for it, which is also their limit; none: the account's.
    pub reserved_concurrency: Option<u32>,
    /// When it was created.
    pub created: Timestamp,
}

impl Function {
    /// The plain name.
    pub fn name(&self) -> &FunctionName {
        &self.latest.function
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_back() {
        for text in ["$LATEST", "1", "42"] {
            assert_eq!(text.parse::<VersionId>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "0",
            "01",
            "-1",
            "+1",
            "$latest",
            "1.0",
            "99999999999999999999",
        ] {
            assert!(text.parse::<VersionId>().is_err(), "{text}");
        }
    }

    #[test]
    fn text_that_no_database_holds_is_refused() {
        let config = Config {
            runtime: "python3.13".to_owned(),
            handler: "app.handler".to_owned(),
            role: "arn:aws:iam::000000000000:role/lambda".to_owned(),
            description: String::new(),
            timeout: Timeout::default(),
            memory: Memory::default(),
            ephemeral_storage: EphemeralStorage::default(),
            environment: Environment::default(),
            engine: EngineName::DOCKER,
            network: NetworkPolicy::None,
            snap_start: false,
            inert: InertSettings::new(),
        };
        assert_eq!(config.validate(), Ok(()));
        let text = "a\0b".to_owned();
        for (field, bad) in [
            (
                "description",
                Config {
                    description: text.clone(),
                    ..config.clone()
                },
            ),
            (
                "handler",
                Config {
                    handler: text,
                    ..config.clone()
                },
            ),
        ] {
            assert_eq!(bad.validate().unwrap_err().field(), field);
        }
    }

    #[test]
    fn roles_follow_the_pattern() {
        for text in [
            "arn:aws:iam::000000000000:role/lambda",
            "arn:aws:iam::123456789012:role/service-role/a.b@c",
            "arn:aws-cn:iam::123456789012:role/x",
        ] {
            assert!(is_role(text), "{text}");
        }
        for text in [
            "",
            "role",
            "arn:aws:iam::12:role/x",
            "arn:aws:iam::000000000000:role/",
            "arn:aws:iam::000000000000:user/x",
            "arn:aws:iam::000000000000:role/a b",
        ] {
            assert!(!is_role(text), "{text}");
        }
    }
}
