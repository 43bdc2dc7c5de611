use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{call::Query, error::Code, error::LambdaError};

/// Most items of one page; clients ask for up to 10,000 and get these.
const LARGEST: usize = 50;

/// Which part of a list is asked for (`Marker`, `MaxItems`).
#[derive(Debug)]
pub(super) struct Page {
    after: Option<String>,
    size: usize,
}

impl Page {
    /// Reads and checks both members.
    pub(super) fn of(query: &Query) -> Result<Self, LambdaError> {
        let size = match query.get("MaxItems").filter(|text| !text.is_empty()) {
            None => LARGEST,
            Some(text) => match text.parse::<usize>() {
                Ok(size @ 1..=10_000) => size.min(LARGEST),
                _ => {
                    let bound = match text.parse::<i64>() {
                        Ok(number) if number < 1 => "greater than or equal to 1",
                        _ => "less than or equal to 10000",
                    };
                    return Err(LambdaError::new(
                        Code::ValidationException,
                        format!(
                            "1 validation error detected: Value '{text}' at 'maxItems' failed to satisfy constraint: Member must have value {bound}"
                        ),
                    ));
                }
            },
        };
        let after = query
            .get("Marker")
            .filter(|marker| !marker.is_empty())
            .map(|marker| {
                URL_SAFE_NO_PAD
                    .decode(marker)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or_else(|| {
                        LambdaError::parameter(
                            "The Marker is not one of this Warren's. Give the NextMarker of the page before.",
                        )
                    })
            })
            .transpose()?;
        Ok(Self { after, size })
    }

    /// The page of these items, which must come in the order of their keys, and the marker of the next if there is one.
    pub(super) fn cut<T>(
        &self,
        items: impl Iterator<Item = (String, T)>,
    ) -> (Vec<T>, Option<String>) {
        let after = self.after.as_deref();
        let mut rest = items
            .skip_while(|(key, _)| after.is_some_and(|after| key.as_str() <= after))
            .peekable();
        let mut page = Vec::new();
        let mut last = String::new();
        while page.len() < self.size
            && let Some((key, item)) = rest.next()
        {
            page.push(item);
            last = key;
        }
        let next = rest.peek().map(|_| URL_SAFE_NO_PAD.encode(last));
        (page, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(count: usize, size: &str) -> Vec<usize> {
        let mut query = format!("MaxItems={size}");
        let mut lengths = Vec::new();
        loop {
            let items = (0..count).map(|number| (format!("{number:03}"), number));
            let (page, next) = Page::of(&Query::read(&query)).unwrap().cut(items);
            lengths.push(page.len());
            match next {
                Some(marker) => query = format!("MaxItems={size}&Marker={marker}"),
                None => return lengths,
            }
        }
    }

    #[test]
    fn pages_join_to_the_whole() {
        assert_eq!(walk(120, "10000"), [50, 50, 20]);
        assert_eq!(walk(100, "50"), [50, 50]);
        assert_eq!(walk(5, "2"), [2, 2, 1]);
        assert_eq!(walk(0, ""), [0]);
    }

    #[test]
    fn members_are_checked() {
        for (query, words) in [
            ("MaxItems=0", "greater than or equal to 1"),
            ("MaxItems=10001", "less than or equal to 10000"),
            ("Marker=%C3%BC", "NextMarker"),
        ] {
            let error = Page::of(&Query::read(query)).unwrap_err();
            assert!(error.message.contains(words), "{error}");
        }
    }
}
