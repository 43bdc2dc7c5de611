//! Who is calling: AWS Signature Version 4, the native API's bearer form, and short-lived download links. All three are keyed by the one
//! key pair of the data folder; all three are pure (time comes in as an argument).

pub mod bearer;
mod canonical;
mod error;
pub mod keys;
pub mod link;
pub mod sigv4;

pub use error::AuthError;
pub use keys::Keys;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Who sent a request that was proven authentic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Id of the key that signed.
    pub key_id: String,
    /// The service of the signature's scope: it picks the API and the shape of errors.
    pub service: Service,
}

/// A service that Warren speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// AWS Lambda.
    Lambda,
    /// AWS Security Token Service.
    Sts,
}

impl Service {
    /// As in the credential's scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Sts => "sts",
        }
    }

    /// The service of a scope, if Warren speaks for it.
    pub fn of_scope(text: &str) -> Option<Self> {
        [Self::Lambda, Self::Sts]
            .into_iter()
            .find(|service| service.as_str() == text)
    }
}

/// HMAC-SHA256.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // An HMAC key of any length is valid, so the fallback is never used.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
