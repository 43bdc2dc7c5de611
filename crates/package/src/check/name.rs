use crate::{Limits, NameFault, PackageError};

/// An entry's name as parts joined by '/', without empty ones and '.'; empty for the package's root itself.
pub(super) fn normal(name: &str, limits: &Limits) -> Result<String, PackageError> {
    let refuse = |fault| {
        Err(PackageError::Name {
            entry: printable(name),
            fault,
        })
    };
    if name.len() > limits.name {
        return refuse(NameFault::Long {
            found: name.len(),
            limit: limits.name,
        });
    }
    if name.contains(char::is_control) {
        return refuse(NameFault::Control);
    }
    if name.contains('\\') {
        return refuse(NameFault::Backslash);
    }
    if name.starts_with('/') {
        return refuse(NameFault::Absolute);
    }
    if let [letter, b':', ..] = name.as_bytes()
        && letter.is_ascii_alphabetic()
    {
        return refuse(NameFault::Drive);
    }
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return refuse(NameFault::Traversal);
    }
    if let Some(part) = parts.iter().find(|part| part.len() > limits.part) {
        return refuse(NameFault::LongPart {
            found: part.len(),
            limit: limits.part,
        });
    }
    if parts.len() > limits.depth {
        return refuse(NameFault::Deep {
            found: parts.len(),
            limit: limits.depth,
        });
    }
    Ok(parts.join("/"))
}

/// Longest name that a message repeats, in characters.
const SHOWN: usize = 200;

/// A name that is safe to print: control characters escaped, cut if long.
pub(super) fn printable(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(SHOWN)
        .flat_map(|c| -> Box<dyn Iterator<Item = char>> {
            match c.is_control() {
                true => Box::new(c.escape_default()),
                false => Box::new(std::iter::once(c)),
            }
        })
        .collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
