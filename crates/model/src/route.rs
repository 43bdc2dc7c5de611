//! Routes: which function answers `METHOD /path` on the routes address.
//!
//! Patterns follow API Gateway's HTTP APIs: literal segments, `{name}` for one segment, `{name+}` for the rest (at least one segment). In tags, whose pattern
//! forbids braces, `:name` and `:name+` say the same.

mod table;

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use table::{RouteMatch, RouteTable};

use crate::Invalid;

/// Longest pattern, in bytes: the length of a tag value.
const MAX_PATTERN: usize = 256;

/// An HTTP method, or any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are HTTP's")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    /// Every method that no route of the same path names.
    Any,
}

impl Method {
    const ALL: [Self; 8] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
        Self::Any,
    ];

    /// As in a route key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Any => "ANY",
        }
    }

    /// The method of a request; none for one that no route can name (it is served by `ANY` alone).
    pub fn of_request(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.as_str() == text && *method != Self::Any)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(String),
    One(String),
    Rest(String),
}

impl Segment {
    /// Literal before one before rest; names of parameters don't count.
    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::One(_) => 1,
            Self::Rest(_) => 2,
        }
    }

    fn same_shape(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) => a == b,
            _ => self.rank() == other.rank(),
        }
    }
}

/// A method and a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Route {
    method: Method,
    segments: Vec<Segment>,
}

impl Route {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The pattern, with braces: `/items/{id}`.
    pub fn path(&self) -> String {
        if self.segments.is_empty() {
            return "/".to_owned();
        }
        self.segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => format!("/{text}"),
                Segment::One(name) => format!("/{{{name}}}"),
                Segment::Rest(name) => format!("/{{{name}+}}"),
            })
            .collect()
    }

    /// Whether both would answer exactly the same requests.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.method == other.method
            && self.segments.len() == other.segments.len()
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|(a, b)| a.same_shape(b))
    }

    /// Most specific first: segment by segment literal, one, rest; then a named method before `ANY`.
    fn specificity(&self, other: &Self) -> Ordering {
        for (a, b) in self.segments.iter().zip(&other.segments) {
            match a.rank().cmp(&b.rank()) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        other
            .segments
            .len()
            .cmp(&self.segments.len())
            .then((self.method == Method::Any).cmp(&(other.method == Method::Any)))
    }

    fn is_literal(&self) -> bool {
        self.segments.iter().all(|segment| segment.rank() == 0)
    }

    /// The values of the parameters if this path (split at `/`) matches.
    fn captures<'p>(&self, path: &[&'p str], raw: &'p str) -> Option<Vec<(String, &'p str)>> {
        let mut values = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let found = *path.get(index)?;
            match segment {
                Segment::Literal(text) if text == found => {}
                Segment::Literal(_) => return None,
                Segment::One(name) if !found.is_empty() => values.push((name.clone(), found)),
                Segment::One(_) => return None,
                Segment::Rest(name) => {
                    // The rest begins after the segments before it and their slashes.
                    let start: usize = path[..index].iter().map(|before| before.len() + 1).sum();
                    let rest = &raw[start + 1..];
                    if rest.is_empty() {
                        return None;
                    }
                    values.push((name.clone(), rest));
                    return Some(values);
                }
            }
        }
        (path.len() == self.segments.len()).then_some(values)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.path())
    }
}

fn refuse(text: &str, why: &str) -> Invalid {
    Invalid::parameter(
        "route",
        format!(
            "The route '{text}' {why}. Write 'METHOD /path', such as 'GET /items/{{id}}', 'POST /items/:id' or 'ANY /files/{{proxy+}}'."
        ),
    )
}

fn parse_segment(text: &str, route: &str) -> Result<Segment, Invalid> {
    let parameter = text
        .strip_prefix('{')
        .map(|rest| {
            rest.strip_suffix('}')
                .ok_or_else(|| refuse(route, "has a '{' without its '}'"))
        })
        .transpose()?
        .or_else(|| text.strip_prefix(':'));
    let Some(parameter) = parameter else {
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=@".contains(&byte);
        return match text {
            "" => Err(refuse(route, "has an empty segment")),
            _ if !text.bytes().all(allowed) => Err(refuse(
                route,
                "has a character that a path can't have unescaped",
            )),
            _ => Ok(Segment::Literal(text.to_owned())),
        };
    };
    let (name, rest) = match parameter.strip_suffix('+') {
        Some(name) => (name, true),
        None => (parameter, false),
    };
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        return Err(refuse(route, "has a parameter without a proper name"));
    }
    Ok(match rest {
        true => Segment::Rest(name.to_owned()),
        false => Segment::One(name.to_owned()),
    })
}

impl FromStr for Route {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_PATTERN {
            return Err(refuse(text, "is longer than 256 characters"));
        }
        let (method, path) = text
            .trim()
            .split_once(' ')
            .ok_or_else(|| refuse(text, "does not name a method and a path"))?;
        let method = Method::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(method))
            .ok_or_else(|| refuse(text, "has an unknown method"))?;
        let path = path
            .trim_start()
            .strip_prefix('/')
            .ok_or_else(|| refuse(text, "has a path that does not begin with '/'"))?;
        let segments = match path {
            "" => Vec::new(),
            _ => path
                .split('/')
                .map(|segment| parse_segment(segment, text))
                .collect::<Result<Vec<_>, _>>()?,
        };
        let before_last = segments.split_last().map_or(&[][..], |(_, before)| before);
        if before_last.iter().any(|s| matches!(s, Segment::Rest(_))) {
            return Err(refuse(
                text,
                "has a '+' parameter that is not the last segment",
            ));
        }
        let mut names: Vec<&str> = segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Literal(_) => None,
                Segment::One(name) | Segment::Rest(name) => Some(name.as_str()),
            })
            .collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(refuse(text, "names a parameter twice"));
        }
        Ok(Self { method, segments })
    }
}

impl TryFrom<String> for Route {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Route> for String {
    fn from(route: Route) -> Self {
        route.to_string()
    }
}
