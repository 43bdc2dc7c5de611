use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;

use crate::messages::StreamKind;

/// The secret that host and agent share for one start of an instance. Its bytes are not in its `Debug` form.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret of the given bytes, which must come from a cryptographic random source.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        // The value itself stays out of the message.
        hex::decode_to_slice(&text, &mut bytes)
            .map_err(|_| de::Error::custom("a secret is 64 hex digits"))?;
        Ok(Self(bytes))
    }
}

/// The host's proof for HELLO, as hex.
pub fn host_proof(secret: &Secret, stream: StreamKind, instance: &str, nonce: &str) -> String {
    hex::encode(
        mac("host", secret, stream, instance, nonce)
            .finalize()
            .into_bytes(),
    )
}

/// The agent's proof for WELCOME, as hex; the nonce is the one of HELLO.
pub fn agent_proof(secret: &Secret, stream: StreamKind, instance: &str, nonce: &str) -> String {
    hex::encode(
        mac("agent", secret, stream, instance, nonce)
            .finalize()
            .into_bytes(),
    )
}

/// Whether `proof` is the host's, in time that does not depend on where it differs.
pub fn verify_host_proof(
    secret: &Secret,
    stream: StreamKind,
    instance: &str,
    nonce: &str,
    proof: &str,
) -> bool {
    verify("host", secret, stream, instance, nonce, proof)
}

/// Whether `proof` is the agent's, in time that does not depend on where it differs.
pub fn verify_agent_proof(
    secret: &Secret,
    stream: StreamKind,
    instance: &str,
    nonce: &str,
    proof: &str,
) -> bool {
    verify("agent", secret, stream, instance, nonce, proof)
}

fn verify(
    side: &str,
    secret: &Secret,
    stream: StreamKind,
    instance: &str,
    nonce: &str,
    proof: &str,
) -> bool {
    let mut bytes = [0; 32];
    hex::decode_to_slice(proof, &mut bytes).is_ok()
        && mac(side, secret, stream, instance, nonce)
            .verify_slice(&bytes)
            .is_ok()
}

fn mac(
    side: &str,
    secret: &Secret,
    stream: StreamKind,
    instance: &str,
    nonce: &str,
) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes keys of any length");
    let stream = stream.as_str();
    for part in ["warren ", side, " 1\n", stream, "\n", instance, "\n", nonce] {
        mac.update(part.as_bytes());
    }
    mac
}
