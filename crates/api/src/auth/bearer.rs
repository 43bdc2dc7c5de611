//! `Authorization: Bearer ID:SECRET`: how the native API is opened with the same key pair.

use http::HeaderMap;
use subtle::ConstantTimeEq;

use super::{AuthError, Keys};

/// Checks the header; both parts are compared in constant time.
pub fn verify(headers: &HeaderMap, keys: &Keys) -> Result<(), AuthError> {
    let Some(value) = headers.get("authorization") else {
        return Err(AuthError::Missing);
    };
    let text = value.to_str().unwrap_or_default();
    let token = text
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((id, secret)) = token.and_then(|(_, token)| token.trim().split_once(':')) else {
        return Err(AuthError::Incomplete(
            "The Authorization header must be 'Bearer ID:SECRET', with the key pair of Warren's data folder.".to_owned(),
        ));
    };
    let same_id = id.as_bytes().ct_eq(keys.id().as_bytes());
    let same_secret = secret.as_bytes().ct_eq(keys.secret().as_bytes());
    match bool::from(same_id & same_secret) {
        true => Ok(()),
        false => Err(AuthError::NotAcceptable(
            "The key pair in the Authorization header is not this Warren's. 'warren env' prints the right one.".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_the_pair_alone() {
        let keys = Keys::new("WARREN1".to_owned(), "s3:cret".to_owned());
        let check = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert("authorization", value.parse().unwrap());
            }
            verify(&headers, &keys).map_err(|error| error.code())
        };
        assert_eq!(check(Some("Bearer WARREN1:s3:cret")), Ok(()));
        assert_eq!(check(Some("bearer WARREN1:s3:cret")), Ok(()));
        assert_eq!(check(None), Err("MissingAuthenticationTokenException"));
        for wrong in [
            "Bearer WARREN1:s3:cre",
            "Bearer WARREN2:s3:cret",
            "Bearer :",
        ] {
            assert_eq!(
                check(Some(wrong)),
                Err("InvalidSignatureException"),
                "{wrong}"
            );
        }
        for malformed in ["Bearer", "Bearer WARREN1", "Basic WARREN1:s3:cret", ""] {
            assert_eq!(
                check(Some(malformed)),
                Err("IncompleteSignatureException"),
                "{malformed}"
            );
        }
    }
}
