//! Names out of a zip, safe to print.

/// Longest name that a message repeats, in characters.
const SHOWN: usize = 200;

/// A name with control characters escaped, and those that turn the direction of writing; cut if long.
pub(crate) fn printable(name: &str) -> String {
    let mut shown = String::new();
    for c in name.chars().take(SHOWN) {
        match c.is_control() || turns(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    if name.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A name that may be in any encoding.
pub(crate) fn shown(name: &[u8]) -> String {
    // No character has more than four bytes.
    let cut = name.len().min(4 * SHOWN + 4);
    printable(&String::from_utf8_lossy(&name[..cut]))
}

/// With these a terminal shows a name in another order than it has.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
