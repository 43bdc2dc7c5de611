//! Short-lived links to a function's code (`Code.Location`): an HMAC in the query string, so that plain curl can open them.

use std::time::Duration;

use subtle::ConstantTimeEq;
use warren_model::Timestamp;

use super::{AuthError, Keys, hmac};

/// How long a link opens, as on AWS.
pub const LIFETIME: Duration = Duration::from_secs(600);
const EXPIRES: &str = "X-Warren-Expires";
const SIGNATURE: &str = "X-Warren-Signature";

/// The path with the query that opens it until `now` and ten minutes.
pub fn sign(path: &str, keys: &Keys, now: Timestamp) -> String {
    let expires = now.plus(LIFETIME).as_millis() / 1000;
    let signature = hex::encode(signature(path, expires, keys));
    format!("{path}?{EXPIRES}={expires}&{SIGNATURE}={signature}")
}

/// Checks that this path was signed by [`sign`] and the link has not run out.
pub fn verify(path: &str, query: &str, keys: &Keys, now: Timestamp) -> Result<(), AuthError> {
    let value = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let (Some(expires), Some(given)) = (value(EXPIRES), value(SIGNATURE)) else {
        return Err(AuthError::Missing);
    };
    let altered = AuthError::Link(
        "The link was altered or is another server's. Ask GetFunction for a new Code.Location.",
    );
    let mut given_bytes = [0; 32];
    let (Ok(expires), Ok(())) = (
        expires.parse::<i64>(),
        hex::decode_to_slice(given, &mut given_bytes),
    ) else {
        return Err(altered);
    };
    if !bool::from(signature(path, expires, keys).ct_eq(&given_bytes)) {
        return Err(altered);
    }
    if now.as_millis() / 1000 >= expires {
        return Err(AuthError::Link(
            "The link has expired: it opens for 10 minutes. Ask GetFunction for a new Code.Location.",
        ));
    }
    Ok(())
}

fn signature(path: &str, expires: i64, keys: &Keys) -> [u8; 32] {
    // A key of its own, so that no signature of another kind ever opens a link.
    let key = hmac(keys.secret().as_bytes(), &[b"warren code link"]);
    hmac(
        &key,
        &[path.as_bytes(), b"\n", expires.to_string().as_bytes()],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_its_path_for_ten_minutes() {
        let keys = Keys::new("WARREN1".to_owned(), "secret".to_owned());
        let now = Timestamp::from_millis(1_795_000_000_000);
        let link = sign("/a/b", &keys, now);
        let (path, query) = link.split_once('?').unwrap();
        let later = |seconds| now.plus(Duration::from_secs(seconds));
        assert_eq!(verify(path, query, &keys, now), Ok(()));
        assert_eq!(verify(path, query, &keys, later(599)), Ok(()));
        assert!(verify(path, query, &keys, later(600)).is_err());
        assert!(verify("/a/c", query, &keys, now).is_err());
        let longer = query.replace("X-Warren-Expires=1795", "X-Warren-Expires=1796");
        assert!(verify(path, &longer, &keys, now).is_err());
        let other = Keys::new("WARREN1".to_owned(), "other".to_owned());
        assert!(verify(path, query, &other, now).is_err());
        assert_eq!(verify(path, "", &keys, now), Err(AuthError::Missing));
    }
}
