use crate::runtime_api::answer::Answer;
use crate::runtime_api::extensions::Extensions;

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /2018-06-01/runtime/invocation/next`
    Next,
    /// `POST /2018-06-01/runtime/invocation/{id}/response`
    Response(String),
    /// `POST /2018-06-01/runtime/invocation/{id}/error`
    Error(String),
    /// `POST /2018-06-01/runtime/init/error`
    InitError,
    /// `GET /2018-06-01/runtime/restore/next`
    RestoreNext,
    /// `POST /2018-06-01/runtime/restore/error`
    RestoreError,
    /// An endpoint of an API that is off.
    Off(Extensions),
    /// No such endpoint, or not with this method.
    Refused(Answer),
}

impl Route {
    /// Where a request with this method and path goes.
    pub(crate) fn of(method: &str, path: &str) -> Self {
        let Some((wanted, route)) = find(path) else {
            return Self::Refused(Answer::error(404, "NotFound", "no such endpoint"));
        };
        if method == wanted {
            route
        } else {
            Self::Refused(Answer::method(wanted))
        }
    }
}

fn find(path: &str) -> Option<(&'static str, Route)> {
    let Some(rest) = path.strip_prefix("/2018-06-01/runtime/") else {
        return Extensions::find(path).map(|(method, endpoint)| (method, Route::Off(endpoint)));
    };
    Some(match rest {
        "invocation/next" => ("GET", Route::Next),
        "init/error" => ("POST", Route::InitError),
        "restore/next" => ("GET", Route::RestoreNext),
        "restore/error" => ("POST", Route::RestoreError),
        _ => match rest.strip_prefix("invocation/")?.split_once('/')? {
            (id, "response") => ("POST", Route::Response(id.to_owned())),
            (id, "error") => ("POST", Route::Error(id.to_owned())),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let runtime =
            |method, rest: &str| Route::of(method, &format!("/2018-06-01/runtime/{rest}"));
        assert_eq!(runtime("GET", "invocation/next"), Route::Next);
        assert_eq!(
            runtime("POST", "invocation/a-b/response"),
            Route::Response("a-b".into())
        );
        assert_eq!(
            runtime("POST", "invocation/a-b/error"),
            Route::Error("a-b".into())
        );
        assert_eq!(runtime("POST", "init/error"), Route::InitError);
        assert_eq!(runtime("GET", "restore/next"), Route::RestoreNext);
        assert_eq!(runtime("POST", "restore/error"), Route::RestoreError);
        assert_eq!(
            Route::of("PUT", "/2020-08-15/logs"),
            Route::Off(Extensions::Logs)
        );
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let status = |method, path: &str| match Route::of(method, path) {
            Route::Refused(answer) => answer.status,
            other => panic!("{other:?}"),
        };
        for path in [
            "/2018-06-01/runtime/invocation/next",
            "/2018-06-01/runtime/restore/error",
            "/2020-08-15/logs",
            "/2020-01-01/extension/event/next",
        ] {
            assert_eq!(status("DELETE", path), 405);
        }
        let answer = Route::of("POST", "/2018-06-01/runtime/invocation/next");
        assert_eq!(answer, Route::Refused(Answer::method("GET")));
        for path in [
            "/",
            "",
            "/2018-06-01/runtime/",
            "/2018-06-01/runtime/invocation/a",
            "/2018-06-01/runtime/invocation/a/b/response",
            "/2020-01-01/extension",
        ] {
            assert_eq!(status("GET", path), 404);
        }
    }
}
