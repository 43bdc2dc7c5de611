use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The record of one call. Times that begin with the call's acceptance follow each other: `queued_us`, `wait_us`, `init_us`, `init_again_us` and `handler_us`
/// make the time to its answer, which is `answered_us`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Call {
    /// The call's id, as handler, log and caller have it.
    pub request_id: String,
    /// The function.
    #[schema(example = "hello")]
    pub function: String,
    /// Its version.
    #[schema(example = "$LATEST")]
    pub version: String,
    /// The state of code and configuration that was called.
    pub revision: String,
    /// The isolation.
    #[schema(example = "docker")]
    pub engine: String,
    /// The instance that served it; absent if the call was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The server's node.
    pub node: String,
    /// Which start of the server.
    pub boot: u64,
    /// When it was accepted.
    pub arrived: String,
    /// The same in microseconds since 1970-01-01 UTC.
    pub arrived_us: u64,
    /// How many instances it was given to; more than one, where an instance died before the call reached its runtime.
    pub attempts: u32,
    /// Microseconds until an instance took it, without the next two.
    pub queued_us: u64,
    /// What it waited for at its instance: `none` (it was warm), `start`, `restore`, `claim` or `thaw`.
    #[schema(example = "none")]
    pub wait: String,
    /// Microseconds that it waited for that.
    pub wait_us: u64,
    /// Microseconds that it waited for its instance's Init.
    pub init_us: u64,
    /// Microseconds of an Init that ran again inside the call, under its timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_again_us: Option<u64>,
    /// Microseconds of its instance's whole Init, also where that began before the call came; of an instance's first call only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_init_us: Option<u64>,
    /// Microseconds from the event's hand-over to the answer; absent if the event was not handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler_us: Option<u64>,
    /// Microseconds from its acceptance to its answer.
    pub answered_us: u64,
    /// Microseconds from the answer until the instance was free again.
    pub closing_us: u64,
    /// Bytes of the event.
    pub bytes_in: u64,
    /// Bytes of the answer, or of the error that the function raised.
    pub bytes_out: u64,
    /// Processor time of the sandbox since it was last looked at, in microseconds; absent if it was not looked at, or could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// How many calls `cpu_us` is of: this one, and the short ones before it that were not looked at on their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_calls: Option<u32>,
    /// Most memory that the instance has used up to the call's end, in bytes; absent if it could not be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// `answer`, `error` (raised by the function), `failed` (ended by Warren or with its process) or `refused`.
    #[schema(example = "answer")]
    pub outcome: String,
    /// Why it failed (`timeout`, `exit`, `memory`, `broken`, `platform`) or was refused (`function_concurrency`, `account_concurrency`, `host_busy`,
    /// `no_instance`, `stopping`, `changed`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Lambda's `errorType` of an error or failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// The X-Ray header, if the caller sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// Records of calls, latest arrival first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallPage {
    /// At most `limit`.
    pub calls: Vec<Call>,
    /// How to ask for those before them; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Calls since the server's start of which there is no record.
    pub dropped: u64,
}
