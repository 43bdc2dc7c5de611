use percent_encoding::percent_decode_str;

use super::table::OPERATIONS;

/// An operation of the Lambda API.
#[derive(Debug)]
pub(super) struct Operation {
    /// HTTP method.
    pub(super) method: &'static str,
    /// Path pattern as in botocore's model, sometimes with a query that must be there.
    pub(super) path: &'static str,
    /// AWS's name.
    pub(super) name: &'static str,
    /// What Warren does about it.
    pub(super) answer: Answer,
}

/// What Warren does about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Works.
    Serve(Served),
    /// A list that is truthfully empty, under this member.
    Empty(&'static str),
    /// A setting that truthfully has Lambda's default.
    Default(Setting),
    /// A resource that truthfully does not exist: 404.
    Absent,
    /// Refused by its name.
    Unsupported,
    /// A function's code, opened by a signed link.
    Download,
}

/// The operations that work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    CreateFunction,
    DeleteFunction,
    DeleteFunctionConcurrency,
    GetAccountSettings,
    GetFunction,
    GetFunctionConcurrency,
    GetFunctionConfiguration,
    Invoke,
    ListFunctions,
    ListTags,
    ListVersionsByFunction,
    PublishVersion,
    PutFunctionConcurrency,
    TagResource,
    UntagResource,
    UpdateFunctionCode,
    UpdateFunctionConfiguration,
}

/// Settings that every function has, at their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    CodeSigning,
    RuntimeManagement,
    Recursion,
    Scaling,
}

impl Operation {
    /// The operation that a request asks for, with the decoded parameters of its path.
    pub(super) fn find(
        method: &str,
        path: &str,
        query: &str,
    ) -> Option<(&'static Self, Vec<String>)> {
        OPERATIONS
            .iter()
            .filter(|operation| operation.method == method)
            .find_map(|operation| Some((operation, operation.parameters(path, query)?)))
    }

    /// Older SDKs end some paths with a slash, which means nothing.
    fn parameters(&self, path: &str, query: &str) -> Option<Vec<String>> {
        let (pattern, condition) = self.path.split_once('?').unwrap_or((self.path, ""));
        if !condition.is_empty() && !query.split('&').any(|pair| pair == condition) {
            return None;
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut parameters = Vec::new();
        let mut found = path.split('/');
        for expected in pattern.split('/') {
            let segment = found.next()?;
            if expected.starts_with('{') {
                if segment.is_empty() {
                    return None;
                }
                parameters.push(percent_decode_str(segment).decode_utf8().ok()?.into_owned());
            } else if segment != expected {
                return None;
            }
        }
        found.next().is_none().then_some(parameters)
    }

    /// Whether its path begins with a function's name.
    pub(super) fn names_a_function(&self) -> bool {
        self.path.contains("{FunctionName}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Model {
        operations: BTreeMap<String, Described>,
    }

    #[derive(serde::Deserialize)]
    struct Described {
        method: String,
        path: String,
    }

    #[test]
    fn the_table_is_botocore_s_model() {
        let model: Model =
            serde_json::from_str(include_str!("../../fixtures/lambda.json")).unwrap();
        let table: BTreeMap<_, _> = OPERATIONS
            .iter()
            .filter(|operation| operation.answer != Answer::Download)
            .map(|operation| (operation.name, (operation.method, operation.path)))
            .collect();
        let expected: BTreeMap<_, _> = model
            .operations
            .iter()
            .map(|(name, operation)| {
                (
                    name.as_str(),
                    (operation.method.as_str(), operation.path.as_str()),
                )
            })
            .collect();
        assert_eq!(table, expected);
        assert_eq!(table.len(), 91);
    }

    #[test]
    fn every_operation_is_found_by_its_path() {
        for operation in &OPERATIONS {
            let (path, query) = operation
                .path
                .split_once('?')
                .unwrap_or((operation.path, ""));
            let path = path.replace('{', "p%3A").replace('}', "");
            for path in [path.clone(), path + "/"] {
                let found = Operation::find(operation.method, &path, query);
                assert_eq!(found.unwrap().0.name, operation.name, "{path}");
            }
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let find = |path: &str| Operation::find("GET", path, "").map(|(op, p)| (op.name, p));
        let tags = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af";
        assert_eq!(
            find(tags),
            Some((
                "ListTags",
                vec!["arn:aws:lambda:us-east-1:000000000000:function:f".to_owned()]
            ))
        );
        for path in [
            "/",
            "",
            "/2015-03-31",
            "/2015-03-31/functions/f/x",
            "/2015-03-31/functions//",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
