use crate::runtime_api::answer::Answer;
use crate::runtime_api::http::Head;

/// An endpoint of the Extensions, Logs or Telemetry API. None of them is on, and each answers as Lambda's local emulator does in that state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extensions {
    /// `POST /2020-01-01/extension/register`
    Register,
    /// `GET /2020-01-01/extension/event/next`, and what an extension tells of its own faults.
    Registered,
    /// `PUT /2020-08-15/logs`
    Logs,
    /// `PUT /2022-07-01/telemetry`
    Telemetry,
}

impl Extensions {
    /// The endpoint with this path, and its method.
    pub(crate) fn find(path: &str) -> Option<(&'static str, Self)> {
        Some(match path {
            "/2020-01-01/extension/register" => ("POST", Self::Register),
            "/2020-01-01/extension/event/next" => ("GET", Self::Registered),
            "/2020-01-01/extension/init/error" | "/2020-01-01/extension/exit/error" => {
                ("POST", Self::Registered)
            }
            "/2020-08-15/logs" => ("PUT", Self::Logs),
            "/2022-07-01/telemetry" => ("PUT", Self::Telemetry),
            _ => return None,
        })
    }

    /// Nobody is subscribed (202, so that code which asks goes on), and nobody is registered (403).
    pub(crate) fn answer(self, head: &Head) -> Answer {
        let refused =
            |kind: &str, message: &str| Answer::error(403, &format!("Extension.{kind}"), message);
        match self {
            Self::Logs => Answer::error(202, "Logs.NotSupported", "Logs API is not supported"),
            Self::Telemetry => Answer::error(
                202,
                "Telemetry.NotSupported",
                "Telemetry API is not supported",
            ),
            Self::Register => match head.extension_name.as_deref() {
                None | Some("") => refused("InvalidExtensionName", "Empty extension name"),
                Some(_) => refused(
                    "RegistrationClosed",
                    "Extension registration closed already",
                ),
            },
            Self::Registered => match head.extension_id.as_deref() {
                None | Some("") => refused(
                    "MissingExtensionIdentifier",
                    "Missing Lambda-Extension-Identifier header",
                ),
                Some(id) if !is_uuid(id) => refused(
                    "InvalidExtensionIdentifier",
                    "Invalid Lambda-Extension-Identifier",
                ),
                Some(id) => refused(
                    "UnknownExtensionIdentifier",
                    &format!("Unknown extension {id}"),
                ),
            },
        }
    }
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_says_so() {
        let told = |path: &str, head: &Head| {
            let (_, endpoint) = Extensions::find(path).unwrap();
            let answer = endpoint.answer(head);
            (answer.status, String::from_utf8(answer.body).unwrap())
        };
        let nobody = Head::default();
        let error = |kind: &str, message: &str| {
            format!("{{\"errorMessage\":\"{message}\",\"errorType\":\"{kind}\"}}")
        };
        assert_eq!(
            told("/2020-08-15/logs", &nobody),
            (202, error("Logs.NotSupported", "Logs API is not supported"))
        );
        assert_eq!(
            told("/2022-07-01/telemetry", &nobody),
            (
                202,
                error("Telemetry.NotSupported", "Telemetry API is not supported")
            )
        );
        assert_eq!(
            told("/2020-01-01/extension/register", &nobody),
            (
                403,
                error("Extension.InvalidExtensionName", "Empty extension name")
            )
        );
        let named = Head {
            extension_name: Some("mine".into()),
            ..Head::default()
        };
        assert_eq!(
            told("/2020-01-01/extension/register", &named),
            (
                403,
                error(
                    "Extension.RegistrationClosed",
                    "Extension registration closed already"
                )
            )
        );
        for path in [
            "/2020-01-01/extension/event/next",
            "/2020-01-01/extension/init/error",
            "/2020-01-01/extension/exit/error",
        ] {
            let kind_for = |id: &str| {
                let head = Head {
                    extension_id: Some(id.into()),
                    ..Head::default()
                };
                let (status, body) = told(path, &head);
                assert_eq!(status, 403);
                body
            };
            assert!(kind_for("").contains("Extension.MissingExtensionIdentifier"));
            assert!(kind_for("x").contains("Extension.InvalidExtensionIdentifier"));
            assert!(
                kind_for("01234567-89ab-cdef-0123-456789abcdef")
                    .contains("Extension.UnknownExtensionIdentifier")
            );
        }
        assert_eq!(Extensions::find("/2020-01-01/extension"), None);
    }
}
