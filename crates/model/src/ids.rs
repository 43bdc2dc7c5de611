use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// An id that was made elsewhere, as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// One invocation, as the handler, the log and the caller see it (a UUID).
    RequestId
}
text_id! {
    /// One state of a function's code and configuration (a UUID); changed by every update.
    RevisionId
}
text_id! {
    /// One sandbox, from its start to its end; safe in file names and labels.
    InstanceId
}
text_id! {
    /// One data folder: the owner of sandboxes, mounts and sockets, across restarts.
    ServerId
}

impl RequestId {
    /// A new random one.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }
}

impl RevisionId {
    /// A new random one.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }
}

impl InstanceId {
    /// A new random one: 16 hexadecimal digits.
    pub fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string()[..16].to_owned())
    }
}

impl ServerId {
    /// A new random one: 12 hexadecimal digits.
    pub fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string()[..12].to_owned())
    }
}
