use std::{fmt, str::FromStr, time::Duration};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{Invalid, Timestamp};

/// From when on: a moment, or this long ago by the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// A moment.
    At(Timestamp),
    /// Before the server's present.
    Ago(Duration),
}

impl Since {
    /// The moment, seen from `now`.
    pub fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Ago(span) => {
                let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
                Timestamp::from_millis(now.as_millis().saturating_sub(millis))
            }
        }
    }
}

impl FromStr for Since {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refused = || {
            Invalid::parameter(
                "since",
                format!(
                    "'{text}' is no time. Write how long ago, such as 30s, 10m, 2h or 1d, or a moment such as 2026-11-24T10:00:00Z."
                ),
            )
        };
        if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
            let millis = moment.unix_timestamp_nanos() / 1_000_000;
            let millis = i64::try_from(millis).map_err(|_| refused())?;
            return Ok(Self::At(Timestamp::from_millis(millis)));
        }
        let seconds = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(refused()),
        };
        // The last character is one of four ASCII letters.
        let count: u32 = text[..text.len() - 1].parse().map_err(|_| refused())?;
        Ok(Self::Ago(Duration::from_secs(u64::from(count) * seconds)))
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(moment) => f.write_str(&moment.rfc3339()),
            Self::Ago(span) => write!(f, "{}s", span.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_spans_and_moments() {
        let now = Timestamp::from_millis(100_000_000);
        for (text, millis) in [
            ("30s", 99_970_000),
            ("10m", 99_400_000),
            ("1h", 96_400_000),
            ("1d", 13_600_000),
            ("1970-01-01T00:00:01.5Z", 1_500),
            ("1970-01-01T01:00:00+01:00", 0),
        ] {
            let since: Since = text.parse().unwrap();
            assert_eq!(since.moment(now).as_millis(), millis, "{text}");
            let again: Since = since.to_string().parse().unwrap();
            assert_eq!(again, since, "{text}");
        }
        for text in ["", "m", "10", "10 m", "-1m", "10x", "ä", "1970-01-01"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }
}
