use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Invalid, VersionId, limits::MAX_NAME};

/// The region and account that ARNs carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Such as `us-east-1`.
    pub region: String,
    /// Twelve digits.
    pub id: String,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            id: "000000000000".to_owned(),
        }
    }
}

impl Account {
    /// The ARN of a function, unqualified.
    pub fn function_arn(&self, name: &FunctionName) -> String {
        format!("arn:aws:lambda:{}:{}:function:{name}", self.region, self.id)
    }

    /// The ARN of a function with a qualifier.
    pub fn qualified_arn(&self, name: &FunctionName, qualifier: &str) -> String {
        format!("{}:{qualifier}", self.function_arn(name))
    }
}

/// A function's plain name: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(String);

impl FunctionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The fault of a text that is in none of the four forms, with the pattern that Lambda states.
fn not_a_function(text: &str) -> Invalid {
    Invalid::constraint(
        "functionName",
        text,
        "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?",
    )
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl FromStr for FunctionName {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if !is_name(text) {
            return Err(not_a_function(text));
        }
        if text.len() > MAX_NAME {
            return Err(Invalid::parameter(
                "functionName",
                format!(
                    "The function name has {} characters; a name may have {MAX_NAME} at most.",
                    text.len()
                ),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for FunctionName {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<FunctionName> for String {
    fn from(name: FunctionName) -> Self {
        name.0
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which state of a function is meant: a version, or an alias by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Qualifier {
    /// `$LATEST` or a published number.
    Version(VersionId),
    /// An alias.
    Alias(String),
}

impl FromStr for Qualifier {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(version) = text.parse() {
            return Ok(Self::Version(version));
        }
        let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if is_name(text) && text.len() <= 128 && !all_digits {
            return Ok(Self::Alias(text.to_owned()));
        }
        Err(Invalid::constraint(
            "qualifier",
            text,
            "Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)",
        ))
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Alias(name) => f.write_str(name),
        }
    }
}

/// A function as clients name it: a plain name, `name:qualifier`, a partial ARN (`123456789012:function:name`) or a full ARN, with an optional qualifier each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRef {
    /// The plain name.
    pub name: FunctionName,
    /// The qualifier, if the text had one.
    pub qualifier: Option<Qualifier>,
    /// Account in an ARN, when it is not the one asked about.
    pub foreign_account: Option<String>,
    /// Region in a full ARN, when it is not the one asked about.
    pub foreign_region: Option<String>,
}

impl FunctionRef {
    /// Reads any of the four forms; an ARN of another account or region is well formed, and reported in the result.
    pub fn parse(text: &str, account: &Account) -> Result<Self, Invalid> {
        let parts: Vec<&str> = text.split(':').collect();
        let (region, account_id, rest) = match parts.as_slice() {
            [
                "arn",
                partition,
                "lambda",
                region,
                id,
                "function",
                rest @ ..,
            ] if partition.starts_with("aws") => (Some(*region), Some(*id), rest),
            [id, "function", rest @ ..] => (None, Some(*id), rest),
            ["function", rest @ ..] if !rest.is_empty() => (None, None, rest),
            rest => (None, None, rest),
        };
        let (name, qualifier) = match rest {
            [name] => (*name, None),
            [name, qualifier] => (*name, Some(qualifier.parse()?)),
            _ => return Err(not_a_function(text)),
        };
        if account_id.is_some_and(|id| id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit())) {
            return Err(not_a_function(text));
        }
        Ok(Self {
            name: name.parse()?,
            qualifier,
            foreign_account: account_id.filter(|id| *id != account.id).map(str::to_owned),
            foreign_region: region.filter(|r| *r != account.region).map(str::to_owned),
        })
    }

    /// Joins the qualifier of the text with one that was given apart (`Qualifier=`). Both may stand, if they say the same.
    pub fn with_qualifier(mut self, apart: Option<&str>) -> Result<Self, Invalid> {
        let Some(apart) = apart.filter(|text| !text.is_empty()) else {
            return Ok(self);
        };
        let apart: Qualifier = apart.parse()?;
        match &self.qualifier {
            Some(derived) if *derived != apart => Err(Invalid::parameter(
                "qualifier",
                "The derived qualifier from the function name does not match the specified qualifier.",
            )),
            _ => {
                self.qualifier = Some(apart);
                Ok(self)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_four_forms() {
        let account = Account::default();
        for text in [
            "f",
            "function:f",
            "000000000000:function:f",
            "arn:aws:lambda:us-east-1:000000000000:function:f",
        ] {
            let plain = FunctionRef::parse(text, &account).unwrap();
            assert_eq!(
                (plain.name.as_str(), plain.qualifier),
                ("f", None),
                "{text}"
            );
            let qualified = FunctionRef::parse(&format!("{text}:7"), &account).unwrap();
            assert_eq!(
                qualified.qualifier,
                Some(Qualifier::Version(VersionId::Number(7))),
                "{text}"
            );
        }
    }

    #[test]
    fn tells_foreign_arns_apart() {
        let account = Account::default();
        let text = "arn:aws:lambda:eu-west-1:111111111111:function:f";
        let parsed = FunctionRef::parse(text, &account).unwrap();
        assert_eq!(parsed.foreign_region.as_deref(), Some("eu-west-1"));
        assert_eq!(parsed.foreign_account.as_deref(), Some("111111111111"));
    }

    #[test]
    fn refuses_what_is_not_a_name() {
        let account = Account::default();
        for text in [
            "",
            "a b",
            "a/b",
            "f:1:2",
            "arn:aws:s3:::bucket",
            "12:function:f",
            "ü",
        ] {
            assert!(FunctionRef::parse(text, &account).is_err(), "{text}");
        }
        assert!("x".repeat(64).parse::<FunctionName>().is_ok());
        assert!(matches!(
            "x".repeat(65).parse::<FunctionName>(),
            Err(Invalid::Parameter { .. })
        ));
    }

    #[test]
    fn two_qualifiers_must_agree() {
        let parsed = || FunctionRef::parse("f:1", &Account::default()).unwrap();
        assert!(parsed().with_qualifier(Some("1")).is_ok());
        assert!(parsed().with_qualifier(None).is_ok());
        assert!(parsed().with_qualifier(Some("2")).is_err());
    }
}
