use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ProtocolError;
use crate::frame::FrameKind;
use crate::proof::{Secret, agent_proof, host_proof, verify_agent_proof, verify_host_proof};

/// The protocol version of this crate.
pub const VERSION: u32 = 1;

/// The channel folder as the sandbox sees it.
pub const CHANNEL_FOLDER: &str = "/run/warren";

/// Name of the agent's socket in the channel folder.
pub const AGENT_SOCKET: &str = "agent.sock";

/// Name of the start file in the channel folder.
pub const START_FILE: &str = "start.json";

/// Where the agent serves the Lambda Runtime API inside the sandbox: the value of `AWS_LAMBDA_RUNTIME_API`.
pub const RUNTIME_API_ADDRESS: &str = "127.0.0.1:9001";

/// In the environment of a runtime that is started ahead: it is to say STANDBY and wait for INIT.
pub const STANDBY_VARIABLE: &str = "WARREN_STANDBY";

/// Most bytes of a HELLO or WELCOME payload that are worth reading: whoever sends more has not proved anything yet.
pub const MAX_HELLO_PAYLOAD: u32 = 4096;

/// The start file: what an agent knows before the host connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFile {
    /// Protocol version, [`VERSION`].
    pub version: u32,
    /// The instance's id.
    pub instance: String,
    /// The secret of this start.
    pub secret: Secret,
}

/// The two kinds of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// Claim, logs, health, kill. One per instance.
    Control,
    /// Calls, one at a time.
    Call,
}

impl StreamKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Call => "call",
        }
    }
}

/// Opens a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Protocol version, [`VERSION`].
    pub version: u32,
    /// What this stream is for.
    pub stream: StreamKind,
    /// The instance that the host means.
    pub instance: String,
    /// Random hex digits, new for each stream.
    pub nonce: String,
    /// The host's proof of the secret.
    pub proof: String,
}

impl Hello {
    /// A hello with its proof. `nonce`: random hex digits, new for each stream.
    pub fn new(secret: &Secret, stream: StreamKind, instance: &str, nonce: &str) -> Self {
        Self {
            version: VERSION,
            stream,
            instance: instance.to_owned(),
            nonce: nonce.to_owned(),
            proof: host_proof(secret, stream, instance, nonce),
        }
    }

    /// Checks a hello against the agent's own start file.
    ///
    /// # Errors
    /// Another version or instance, a nonce that is none, or a wrong proof.
    pub fn check(&self, start: &StartFile) -> Result<(), ProtocolError> {
        if self.version != VERSION {
            return Err(ProtocolError::Version {
                found: self.version,
            });
        }
        if self.instance != start.instance {
            return Err(ProtocolError::Instance {
                found: self.instance.chars().take(64).collect(),
            });
        }
        let length = self.nonce.len();
        if !(2..=128).contains(&length)
            || !length.is_multiple_of(2)
            || !self.nonce.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(ProtocolError::Nonce { found: length });
        }
        if !verify_host_proof(
            &start.secret,
            self.stream,
            &start.instance,
            &self.nonce,
            &self.proof,
        ) {
            return Err(ProtocolError::Proof);
        }
        Ok(())
    }

    /// Reads a HELLO payload.
    ///
    /// # Errors
    /// It is not the message's JSON.
    pub fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
        parse_json(FrameKind::Hello, payload)
    }
}

/// Answers a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Protocol version, [`VERSION`].
    pub version: u32,
    /// Version of the agent program.
    pub agent: String,
    /// The agent's proof of the secret.
    pub proof: String,
}

impl Welcome {
    /// The answer to a hello that was checked. `agent`: version of the agent program.
    pub fn new(secret: &Secret, hello: &Hello, agent: &str) -> Self {
        Self {
            version: VERSION,
            agent: agent.to_owned(),
            proof: agent_proof(secret, hello.stream, &hello.instance, &hello.nonce),
        }
    }

    /// Checks the answer to the host's own hello.
    ///
    /// # Errors
    /// Another version or a wrong proof.
    pub fn check(&self, secret: &Secret, hello: &Hello) -> Result<(), ProtocolError> {
        if self.version != VERSION {
            return Err(ProtocolError::Version {
                found: self.version,
            });
        }
        if !verify_agent_proof(
            secret,
            hello.stream,
            &hello.instance,
            &hello.nonce,
            &self.proof,
        ) {
            return Err(ProtocolError::Proof);
        }
        Ok(())
    }

    /// Reads a WELCOME payload.
    ///
    /// # Errors
    /// It is not the message's JSON.
    pub fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
        parse_json(FrameKind::Welcome, payload)
    }
}

/// How a runtime receives calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interface {
    /// These frames on descriptor 3, which is the call stream itself.
    Stream,
    /// The Lambda Runtime API, served by the agent.
    RuntimeApi,
    /// No calls: the call stream carries the bytes of standard input to the program and those of standard output back, without frames.
    Program,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Program and arguments; the program is an absolute path.
    pub command: Vec<String>,
    /// How the runtime receives calls.
    pub interface: Interface,
    /// The whole environment of the runtime.
    pub environment: BTreeMap<String, String>,
    /// The working directory.
    pub directory: String,
    /// The runtime's user, not 0.
    pub uid: u32,
    /// The runtime's only group.
    pub gid: u32,
    /// RLIMIT_NOFILE.
    pub open_files: u64,
    /// RLIMIT_NPROC; unlimited if absent (the engine's own limit holds).
    pub processes: Option<u64>,
    /// Whether a checkpoint of the runtime is taken once its Init is over: it says READY then, lets its call stream go, and is given another after a restore.
    #[serde(default)]
    pub snapshot: bool,
}

/// Whose a runtime that was started ahead becomes, or what has changed for one that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// The whole environment: all that it was started with but [`STANDBY_VARIABLE`], or another value for it.
    pub environment: BTreeMap<String, String>,
    /// The working directory.
    pub directory: String,
}

/// How a runtime ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exited {
    /// It exited with this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It could not be started; why.
    Spawn(String),
}

/// EXITED as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExitedMessage {
    #[serde(flatten)]
    pub(crate) exited: Exited,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_call: Option<u32>,
}

/// Sets or clears the time at which the agent kills the runtime by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// The call that it belongs to.
    pub call: u32,
    /// Milliseconds from now; `None` takes the deadline of this call back.
    pub remaining_ms: Option<u64>,
}

/// A function's error, as far as the host reads it. The answer to the caller is the payload itself, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorObject {
    /// The kind of error, such as `ValueError` or `Function.ResponseSizeTooLarge`.
    #[serde(rename = "errorType", default, deserialize_with = "or_default")]
    pub error_type: String,
    /// The message.
    #[serde(rename = "errorMessage", default, deserialize_with = "or_default")]
    pub error_message: String,
    /// The stack; JavaScript names it `trace`.
    #[serde(
        rename = "stackTrace",
        alias = "trace",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Option::is_none"
    )]
    pub stack_trace: Option<Vec<String>>,
}

impl ErrorObject {
    /// An error without a stack.
    pub fn new(error_type: impl Into<String>, error_message: impl Into<String>) -> Self {
        Self {
            error_type: error_type.into(),
            error_message: error_message.into(),
            stack_trace: None,
        }
    }

    /// Reads an error object; `None` if the payload is not one. A function may answer any bytes as its error.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// The object's JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings are always JSON")
    }
}

/// A function may put anything anywhere: a member of another type counts as absent, so that it does not hide the others.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Reads a JSON payload of the given kind.
pub(crate) fn parse_json<T: DeserializeOwned>(
    kind: FrameKind,
    payload: &[u8],
) -> Result<T, ProtocolError> {
    serde_json::from_slice(payload).map_err(|error| ProtocolError::Json {
        kind,
        reason: error.to_string(),
    })
}
