use std::collections::HashMap;

use crate::PackageError;

/// Most links that one may lead through: Linux's own limit (`path_resolution(7)`).
const MAX_HOPS: usize = 40;

/// Follows the link at `path` as the kernel would, with `links` as the only links there are: each step of it must stay in the package.
pub(super) fn follow(path: &str, links: &HashMap<&str, &str>) -> Result<(), PackageError> {
    let target = links.get(path).copied().unwrap_or_default();
    let leaves = || PackageError::LinkLeaves {
        entry: path.to_owned(),
        target: target.to_owned(),
    };
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut here: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    // What is still to be walked, the next part last.
    let mut ahead: Vec<&str> = Vec::new();
    let mut hops = 0;
    let mut next = Some(target);
    loop {
        if let Some(target) = next.take() {
            if target.starts_with('/') {
                return Err(leaves());
            }
            hops += 1;
            if hops > MAX_HOPS {
                return Err(PackageError::LinkLoops {
                    entry: path.to_owned(),
                    limit: MAX_HOPS,
                });
            }
            ahead.extend(target.split('/').rev());
        }
        match ahead.pop() {
            None => return Ok(()),
            Some("" | ".") => {}
            Some("..") => {
                here.pop().ok_or_else(leaves)?;
            }
            Some(part) => {
                here.push(part);
                next = links.get(here.join("/").as_str()).copied();
                if next.is_some() {
                    here.pop();
                }
            }
        }
    }
}
