use crate::archive::Record;
use crate::shown::{printable, shown};
use crate::{Limits, NameFault, PackageError};

/// An entry's name as text. Other encodings are refused, not guessed: a module under a guessed name is not found, and nobody sees why.
pub(super) fn text<'z>(record: &Record<'z>) -> Result<&'z str, PackageError> {
    let refuse = |fault| PackageError::Name {
        entry: shown(record.name),
        fault,
    };
    let name = std::str::from_utf8(record.name).map_err(|_| refuse(NameFault::Encoding))?;
    match record.other_name {
        Some(other) if other != record.name => Err(refuse(NameFault::Two)),
        _ => Ok(name),
    }
}

/// A name as parts joined by '/', without empty ones and '.'; empty for the package's root itself.
pub(super) fn normal(name: &str, limits: &Limits) -> Result<String, PackageError> {
    let refuse = |fault| {
        Err(PackageError::Name {
            entry: printable(name),
            fault,
        })
    };
    if name.is_empty() {
        return refuse(NameFault::Empty);
    }
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

/// Whether a name can only be a folder's.
pub(super) fn is_folder(name: &str) -> bool {
    name == "." || name.ends_with('/') || name.ends_with("/.")
}
