//! Sizes and durations that Lambda limits, as types that can't be out of range; sources: Lambda's quota page and API reference.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Largest synchronous request body, in bytes (quota page: 6 MB).
pub const MAX_SYNC_PAYLOAD: usize = 6_291_456;
/// Largest synchronous answer, in bytes: the request's limit and 100 bytes, as Lambda reports it in `Function.ResponseSizeTooLarge`.
pub const MAX_SYNC_RESPONSE: usize = 6_291_556;
/// Largest zip sent directly, in bytes (50 MB).
pub const MAX_ZIP: u64 = 52_428_800;
/// Largest unpacked code, in bytes (250 MB).
pub const MAX_UNPACKED: u64 = 262_144_000;
/// Largest control request, in bytes: a zip in base64 and its configuration.
pub const MAX_CONTROL_REQUEST: usize = 70_167_211;
/// Longest description, in characters.
pub const MAX_DESCRIPTION: usize = 256;
/// Largest environment, names and values together, in bytes.
pub const MAX_ENVIRONMENT: usize = 4_096;
/// Longest plain function name, in characters.
pub const MAX_NAME: usize = 64;
/// Longest Init before it is tried again inside the first invocation.
pub const INIT_LIMIT: Duration = Duration::from_secs(10);

macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident($int:ty), $field:literal, $min:literal..=$max:literal, default $default:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name($int);

        impl $name {
            /// Smallest value.
            pub const MIN: $int = $min;
            /// Largest value.
            pub const MAX: $int = $max;

            /// The value, if it is in range.
            pub fn new(value: i64) -> Result<Self, Invalid> {
                if value < i64::from(Self::MIN) {
                    return Err(Invalid::constraint($field, value,
                        concat!("Member must have value greater than or equal to ", $min)));
                }
                if value > i64::from(Self::MAX) {
                    return Err(Invalid::constraint($field, value,
                        concat!("Member must have value less than or equal to ", $max)));
                }
                <$int>::try_from(value).map(Self).map_err(|_| {
                    Invalid::constraint($field, value, "Member must be an integer in range")
                })
            }

            /// The plain number.
            pub fn get(self) -> $int {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        impl TryFrom<i64> for $name {
            type Error = Invalid;
            fn try_from(value: i64) -> Result<Self, Invalid> {
                Self::new(value)
            }
        }

        impl From<$name> for i64 {
            fn from(value: $name) -> i64 {
                i64::from(value.0)
            }
        }
    };
}

ranged! {
    /// Longest time that one invocation may take, in seconds.
    Timeout(u32), "timeout", 1..=900, default 3
}
ranged! {
    /// Memory of one sandbox, in MiB; its share of the processor follows it.
    Memory(u32), "memorySize", 128..=10240, default 128
}
ranged! {
    /// Size of `/tmp`, in MiB.
    EphemeralStorage(u32), "ephemeralStorage.size", 512..=10240, default 512
}

impl Timeout {
    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

impl Memory {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}

impl EphemeralStorage {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}
