//! An error with what led to it, as the sources of `std::error::Error` say.

use std::error::Error;

/// The error, then its causes, the innermost last.
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

/// All of it on one line; what a cause only repeats is left out. Never as `Debug` shows errors: that of a database's has whole rows, with secrets.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .map(ToString::to_string)
        .reduce(|mut text, words| {
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            text
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layer {
        words: &'static str,
        below: Option<Box<dyn Error>>,
    }

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.words)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.below.as_deref()
        }
    }

    fn layers(words: &[&'static str]) -> Layer {
        Layer {
            words: words[0],
            below: words.get(1).map(|_| layers(&words[1..]).into()),
        }
    }

    #[test]
    fn causes_are_told_once_on_one_line() {
        assert_eq!(chain(&layers(&["alone"])), "alone");
        let error = layers(&["it can't be opened", "refused: cut", "cut", "no route"]);
        assert_eq!(chain(&error), "it can't be opened: refused: cut: no route");
        assert_eq!(causes(&error).count(), 4);
    }

    #[test]
    fn a_cause_of_a_kind_is_found() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let outer = Layer {
            words: "it can't be written",
            below: Some(full.into()),
        };
        let kind = causes(&outer).last().and_then(|cause| {
            let found = cause.downcast_ref::<std::io::Error>()?;
            Some(found.kind())
        });
        assert_eq!(kind, Some(std::io::ErrorKind::StorageFull));
    }
}
