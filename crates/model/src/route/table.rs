use std::collections::HashMap;

use super::{Method, Route};

/// All routes with what they lead to; built once per change, read by every request.
#[derive(Debug, Clone)]
pub struct RouteTable<T> {
    /// Routes without parameters, by their path: found with one look-up.
    literal: HashMap<String, Vec<(Route, T)>>,
    /// The others, most specific first.
    patterns: Vec<(Route, T)>,
}

/// What a request's method and path lead to.
#[derive(Debug, PartialEq, Eq)]
pub enum RouteMatch<'t, 'p, T> {
    /// A route answers.
    Found {
        /// The route.
        route: &'t Route,
        /// What it leads to.
        target: &'t T,
        /// Its parameters, undecoded.
        parameters: Vec<(String, &'p str)>,
    },
    /// The path is served, but not with this method; these are.
    MethodNotAllowed(Vec<Method>),
    /// No route has this path.
    NotFound,
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            literal: HashMap::new(),
            patterns: Vec::new(),
        }
    }
}

impl<T> FromIterator<(Route, T)> for RouteTable<T> {
    fn from_iter<I: IntoIterator<Item = (Route, T)>>(routes: I) -> Self {
        let mut table = Self::default();
        for (route, target) in routes {
            if route.is_literal() {
                table
                    .literal
                    .entry(route.path())
                    .or_default()
                    .push((route, target));
            } else {
                table.patterns.push((route, target));
            }
        }
        for same_path in table.literal.values_mut() {
            same_path.sort_by(|(a, _), (b, _)| a.specificity(b));
        }
        table.patterns.sort_by(|(a, _), (b, _)| a.specificity(b));
        table
    }
}

impl<T> RouteTable<T> {
    /// Finds the most specific route. `path` is as it came, undecoded, without the query.
    ///
    /// The path decides before the method: a literal path with `ANY` comes before a pattern with the request's method. `HEAD` is served by a `GET` route where no route names it.
    pub fn find<'t, 'p>(&'t self, method: &str, path: &'p str) -> RouteMatch<'t, 'p, T> {
        let method = Method::of_request(method);
        let mut allowed = Vec::new();
        let mut head_by_get = None;
        let segments: Vec<&str> = match path.strip_prefix('/') {
            Some("") => Vec::new(),
            Some(rest) => rest.split('/').collect(),
            None => return RouteMatch::NotFound,
        };
        let literal = self
            .literal
            .get(path)
            .into_iter()
            .flatten()
            .map(|(route, target)| (route, target, Vec::new()));
        let patterns = self
            .patterns
            .iter()
            .filter_map(|(route, target)| Some((route, target, route.captures(&segments, path)?)));
        for (route, target, parameters) in literal.chain(patterns) {
            let found = RouteMatch::Found {
                route,
                target,
                parameters,
            };
            if route.method == Method::Any || Some(route.method) == method {
                return head_by_get.unwrap_or(found);
            }
            if method == Some(Method::Head) && route.method == Method::Get {
                head_by_get.get_or_insert(found);
            }
            if !allowed.contains(&route.method) {
                allowed.push(route.method);
            }
        }
        match head_by_get {
            Some(found) => found,
            None if allowed.is_empty() => RouteMatch::NotFound,
            None => RouteMatch::MethodNotAllowed(allowed),
        }
    }

    /// Every route with what it leads to, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &(Route, T)> {
        self.literal.values().flatten().chain(&self.patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[&str]) -> RouteTable<String> {
        routes
            .iter()
            .map(|text| (text.parse().unwrap(), (*text).to_owned()))
            .collect()
    }

    fn target(table: &RouteTable<String>, method: &str, path: &str) -> String {
        match table.find(method, path) {
            RouteMatch::Found {
                target, parameters, ..
            } => {
                let parameters: Vec<_> = parameters
                    .iter()
                    .map(|(k, v)| format!(" {k}={v}"))
                    .collect();
                format!("{target}{}", parameters.concat())
            }
            RouteMatch::MethodNotAllowed(methods) => format!(
                "405 {}",
                methods
                    .iter()
                    .map(|m| m.as_str())
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            RouteMatch::NotFound => "404".to_owned(),
        }
    }

    #[test]
    fn most_specific_wins() {
        let table = table(&[
            "ANY /{proxy+}",
            "GET /items/{id}",
            "GET /items/new",
            "ANY /items/{id}",
            "GET /items/{id}/parts/{part}",
            "POST /items",
            "GET /",
        ]);
        for (method, path, expected) in [
            ("GET", "/", "GET /"),
            ("GET", "/items/new", "GET /items/new"),
            ("GET", "/items/7", "GET /items/{id} id=7"),
            ("PUT", "/items/7", "ANY /items/{id} id=7"),
            ("GET", "/items/a%2Fb", "GET /items/{id} id=a%2Fb"),
            (
                "GET",
                "/items/7/parts/x",
                "GET /items/{id}/parts/{part} id=7 part=x",
            ),
            ("GET", "/items/7/parts", "ANY /{proxy+} proxy=items/7/parts"),
            ("POST", "/items", "POST /items"),
            ("GET", "/items", "ANY /{proxy+} proxy=items"),
            ("GET", "/items/", "ANY /{proxy+} proxy=items/"),
            ("HEAD", "/items/new", "GET /items/new"),
            ("PURGE", "/x", "ANY /{proxy+} proxy=x"),
            ("POST", "/", "405 GET"),
        ] {
            assert_eq!(target(&table, method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn method_and_path_faults_differ() {
        let table = table(&["GET /a", "POST /a", "DELETE /b/:id", "GET /c/:rest+"]);
        for (method, path, expected) in [
            ("GET", "/a", "GET /a"),
            ("PUT", "/a", "405 GET,POST"),
            ("GET", "/b/1", "405 DELETE"),
            ("GET", "/b/", "404"),
            ("GET", "/c/", "404"),
            ("GET", "/c", "404"),
            ("GET", "/c/x//y/", "GET /c/:rest+ rest=x//y/"),
            ("GET", "/A", "404"),
            ("GET", "", "404"),
        ] {
            assert_eq!(target(&table, method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn spellings_and_conflicts() {
        let parse = |text: &str| text.parse::<Route>().unwrap();
        assert_eq!(parse("post /items/:id"), parse("POST /items/{id}"));
        assert_eq!(parse("ANY /f/:p+").to_string(), "ANY /f/{p+}");
        assert!(parse("GET /a/{x}").conflicts_with(&parse("GET /a/{y}")));
        assert!(!parse("GET /a/{x}").conflicts_with(&parse("ANY /a/{x}")));
        assert!(!parse("GET /a/{x}").conflicts_with(&parse("GET /a/b")));
        assert!(!parse("GET /a/{x}").conflicts_with(&parse("GET /a/{x+}")));
        for text in [
            "",
            "GET",
            "/a",
            "FETCH /a",
            "GET a",
            "GET /a//b",
            "GET /a/",
            "GET /{}",
            "GET /{a",
            "GET /{a+}/b",
            "GET /{a}/{a}",
            "GET /a?b",
            "GET /a b",
        ] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }
}
