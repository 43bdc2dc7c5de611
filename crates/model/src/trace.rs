use std::fmt;

use crate::RequestId;

/// Longest header that is taken over, in bytes; AWS's own have some hundred.
const MAX_LENGTH: usize = 256;

/// An X-Ray tracing header (X-Ray developer guide, "Tracing header"), as a handler gets it: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceHeader(String);

impl TraceHeader {
    /// Takes over a caller's header of at most 256 bytes: one Root, at most one Parent and Sampled, each of its form, and whatever other fields. None of
    /// anything else; as on Lambda, the call then gets a header of its own.
    pub fn of_caller(text: &str) -> Option<Self> {
        let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if text.len() > MAX_LENGTH || !text.bytes().all(printable) {
            return None;
        }
        let (mut root, mut parent, mut sampled) = (false, false, false);
        for field in text.split(';').map(str::trim).filter(|f| !f.is_empty()) {
            let (name, value) = field.split_once('=')?;
            let (seen, right) = match name {
                "Root" => (&mut root, is_root(value)),
                "Parent" => (&mut parent, is_hex(value, 16)),
                "Sampled" => (&mut sampled, matches!(value, "0" | "1" | "?")),
                _ => continue,
            };
            if !right || std::mem::replace(seen, true) {
                return None;
            }
        }
        root.then(|| Self(text.to_owned()))
    }

    /// A header for a call that came without one: not sampled, made of the request's id. `seconds` is the time since the epoch.
    pub fn of_request(request: &RequestId, seconds: u64) -> Self {
        let digits: String = request.as_str().chars().filter(|c| *c != '-').collect();
        let (root, parent) = (digits.get(..24), digits.get(16..32));
        Self(format!(
            "Root=1-{seconds:08x}-{};Parent={};Sampled=0",
            root.unwrap_or("000000000000000000000000"),
            parent.unwrap_or("0000000000000000"),
        ))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_root(value: &str) -> bool {
    let mut parts = value.split('-');
    parts.next() == Some("1")
        && parts.next().is_some_and(|part| is_hex(part, 8))
        && parts.next().is_some_and(|part| is_hex(part, 24))
        && parts.next().is_none()
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";

    #[test]
    fn headers_of_callers_have_a_form_and_a_length() {
        for rest in [
            "",
            ";",
            ";Parent=53995c3f42cd8ad8;Sampled=1",
            ";Sampled=?",
            "; Sampled=0",
            ";Lineage=a87bd80c:1|68fd508a:5;Sampled=0",
            ";CalledFrom=app",
        ] {
            let text = format!("{ROOT}{rest}");
            let header = TraceHeader::of_caller(&text).unwrap();
            assert_eq!(header.as_str(), text);
        }
        assert!(TraceHeader::of_caller(&format!("Self=1-2-3;{ROOT}")).is_some());
        for text in [
            "",
            "Sampled=1",
            "Root=1-5759e988-bd862e3fe1be46a99427279",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e98x-bd862e3fe1be46a994272793",
            "root=1-5759e988-bd862e3fe1be46a994272793",
            &format!("{ROOT}-1"),
            &format!("{ROOT};{ROOT}"),
            &format!("{ROOT};Parent=53995c3f42cd8ad"),
            &format!("{ROOT};Sampled=2"),
            &format!("{ROOT};Sampled=1;Sampled=1"),
            &format!("{ROOT};nothing"),
            &format!("{ROOT};A=\u{e4}"),
            &format!("{ROOT};A=\tb"),
        ] {
            assert_eq!(TraceHeader::of_caller(text), None, "{text}");
        }
        let room = MAX_LENGTH - ROOT.len() - ";A=".len();
        let long = |length| format!("{ROOT};A={}", "x".repeat(length));
        assert!(TraceHeader::of_caller(&long(room)).is_some());
        assert_eq!(TraceHeader::of_caller(&long(room + 1)), None);
    }

    #[test]
    fn headers_of_our_own_are_of_the_form() {
        for id in [RequestId::random(), RequestId::new("r-1")] {
            let own = TraceHeader::of_request(&id, 1_700_000_000);
            assert_eq!(TraceHeader::of_caller(own.as_str()), Some(own));
        }
    }
}
