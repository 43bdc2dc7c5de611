use std::collections::BTreeMap;

use crate::{EngineName, Invalid, Route};

/// Labels of a function, by key.
pub type Tags = BTreeMap<String, String>;

/// Most tags of one function (Lambda API reference, TagResource).
const MAX_TAGS: usize = 50;

/// The engine that the tag `warren:engine` chooses, if it is there.
pub fn engine_from_tags(tags: &Tags) -> Result<Option<EngineName>, Invalid> {
    tags.get("warren:engine")
        .map(|name| name.parse())
        .transpose()
}

/// The routes that the tags `warren:route`, `warren:route.2`, ... name, in the order of their keys.
pub fn routes_from_tags(tags: &Tags) -> Result<Vec<Route>, Invalid> {
    tags.iter()
        .filter(|(key, _)| *key == "warren:route" || key.starts_with("warren:route."))
        .map(|(_, route)| route.parse())
        .collect()
}

/// Checks number, lengths and reserved prefix.
pub fn validate(tags: &Tags) -> Result<(), Invalid> {
    if tags.len() > MAX_TAGS {
        return Err(Invalid::parameter(
            "tags",
            format!(
                "A function may have {MAX_TAGS} tags at most; {} were given.",
                tags.len()
            ),
        ));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(Invalid::constraint(
                "tags",
                key,
                "Map keys must satisfy constraint: [Member must have length between 1 and 128]",
            ));
        }
        if value.chars().count() > 256 {
            return Err(Invalid::constraint(
                "tags",
                value,
                "Map values must satisfy constraint: [Member must have length less than or equal to 256]",
            ));
        }
        Invalid::check_no_nul("tags", "The key of a tag", key)?;
        Invalid::check_no_nul("tags", "The value of a tag", value)?;
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Invalid::parameter(
                "tags",
                format!(
                    "The tag key '{key}' begins with 'aws:', which is reserved. Choose another."
                ),
            ));
        }
    }
    engine_from_tags(tags)?;
    routes_from_tags(tags)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_no_database_holds_is_refused() {
        let tags = |key: &str, value: &str| Tags::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(validate(&tags("team", "blue")), Ok(()));
        for bad in [tags("te\0am", "blue"), tags("team", "bl\0ue")] {
            let error = validate(&bad).unwrap_err();
            assert_eq!(error.field(), "tags");
            assert!(error.to_string().contains("NUL"), "{error}");
        }
    }
}
