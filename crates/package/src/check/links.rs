use std::collections::HashMap;

use crate::PackageError;

/// Most links that one may lead through: Linux's own limit (`path_resolution(7)`).
const MAX_HOPS: usize = 40;
/// Most parts of paths that are walked for all links together. The links of 60,000 npm packages need some 400,000; hostile ones, each led through forty
/// others with hundreds of parts, could keep a processor busy for a minute.
const MAX_STEPS: usize = 5_000_000;

/// Follows links as the kernel would: each step must stay in the package.
pub(super) struct Walk<'l> {
    /// The links there are, with their targets.
    links: &'l HashMap<&'l str, &'l str>,
    steps: usize,
}

impl<'l> Walk<'l> {
    pub(super) fn new(links: &'l HashMap<&'l str, &'l str>) -> Self {
        Self { links, steps: 0 }
    }

    /// The link at `path`: its path and its target.
    fn link(&self, path: &str) -> Option<(&'l str, &'l str)> {
        let (path, target) = self.links.get_key_value(path)?;
        Some((path, target))
    }

    /// Follows the link at `path` to its end.
    pub(super) fn follow(&mut self, path: &str) -> Result<(), PackageError> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let link = self.link(path);
        self.walk(path, folder.to_owned(), Vec::new(), link)
            .map(drop)
    }

    /// Where `path` leads to, which has no '..' itself.
    pub(super) fn end_of(&mut self, path: &str) -> Result<String, PackageError> {
        let parts = path.split('/').rev();
        let ahead = parts.map(|part| (part, (path, path))).collect();
        self.walk(path, String::new(), ahead, None)
    }

    /// Walks from a folder until nothing is ahead, the next part last, each with the link that it is of; `next` is a link that was just met.
    fn walk<'p>(
        &mut self,
        path: &'p str,
        mut here: String,
        mut ahead: Vec<(&'p str, (&'p str, &'p str))>,
        mut next: Option<(&'l str, &'l str)>,
    ) -> Result<String, PackageError>
    where
        'l: 'p,
    {
        // The link whose target leaves may be another one, further on.
        let leaves = |(entry, target): (&str, &str)| PackageError::LinkLeaves {
            entry: entry.to_owned(),
            target: target.to_owned(),
        };
        let mut hops = 0;
        loop {
            if let Some(link) = next.take() {
                if link.1.starts_with('/') {
                    return Err(leaves(link));
                }
                hops += 1;
                if hops > MAX_HOPS {
                    return Err(PackageError::LinkLoops {
                        entry: path.to_owned(),
                        limit: MAX_HOPS,
                    });
                }
                ahead.extend(link.1.split('/').rev().map(|part| (part, link)));
            }
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(PackageError::LinksTooLong {
                    entry: path.to_owned(),
                    limit: MAX_STEPS,
                });
            }
            match ahead.pop() {
                None => return Ok(here),
                Some(("" | ".", _)) => {}
                Some(("..", link)) if here.is_empty() => return Err(leaves(link)),
                Some(("..", _)) => here.truncate(here.rfind('/').unwrap_or(0)),
                Some((part, _)) => {
                    let folder = here.len();
                    if folder > 0 {
                        here.push('/');
                    }
                    here.push_str(part);
                    next = self.link(&here);
                    if next.is_some() {
                        here.truncate(folder);
                    }
                }
            }
        }
    }
}
