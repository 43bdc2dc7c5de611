//! The canonical forms of a request's parts, as both signer and verifier compute them (AWS General Reference, "Create a signed AWS API request").

use http::HeaderMap;
use percent_encoding::percent_decode_str;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Percent-encodes all but unreserved characters and those in `keep`.
fn encode(bytes: &[u8], keep: &[u8], out: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The path as it came on the wire (encoded once), without dot and empty segments, and encoded once more.
pub(super) fn path(raw: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(raw.len() + 16);
    for segment in &kept {
        out.push('/');
        encode(segment.as_bytes(), b"", &mut out);
    }
    if out.is_empty() || raw.ends_with('/') {
        out.push('/');
    }
    out
}

/// The query, decoded, encoded strictly and sorted by key, then value; repeated keys stay.
pub(super) fn query(raw: &str) -> String {
    let mut pairs: Vec<(String, String)> = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (recode(key), recode(value))
        })
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join("&")
}

fn recode(text: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(text).collect();
    let mut out = String::with_capacity(text.len());
    encode(&decoded, b"", &mut out);
    out
}

/// The signed headers, one a line: inner runs of spaces made one, repeated headers joined. None if a signed header is not there.
pub(super) fn headers(signed: &[&str], headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    for name in signed {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        let mut values = headers.get_all(*name).iter().peekable();
        values.peek()?;
        for (index, value) in values.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let words = value
                .as_bytes()
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty());
            for (index, word) in words.enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                out.extend_from_slice(word);
            }
        }
        out.push(b'\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (raw, expected) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b/./c/../d/", "/a/b/d/"),
            ("/%20x/a:b", "/%2520x/a%3Ab"),
            ("/..", "/"),
        ] {
            assert_eq!(path(raw), expected, "{raw}");
        }
    }

    #[test]
    fn queries() {
        for (raw, expected) in [
            ("", ""),
            ("b=2&a=1&a=0&c", "a=0&a=1&b=2&c="),
            ("k=%7e%2f+x", "k=~%2F%2Bx"),
        ] {
            assert_eq!(query(raw), expected, "{raw}");
        }
    }
}
