//! Little-endian numbers at places that are known to be there, or not.

/// The `N` bytes at `at`, if there are that many.
fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    let end = at.checked_add(N)?;
    data.get(at..end)?.try_into().ok()
}

pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    bytes(data, at).map(u16::from_le_bytes)
}

pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    bytes(data, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    bytes(data, at).map(u64::from_le_bytes)
}

/// Whether any of these signatures is in `data`.
pub(super) fn has_any(data: &[u8], signatures: &[&[u8; 4]]) -> bool {
    data.windows(4)
        .any(|bytes| signatures.iter().any(|signature| bytes == *signature))
}

/// Whether `data` has this signature at `at`.
pub(super) fn signed(data: &[u8], at: usize, signature: &[u8; 4]) -> bool {
    bytes(data, at).as_ref() == Some(signature)
}
