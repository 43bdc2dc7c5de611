//! Code as requests bring it, as a zip.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use warren_model::native::CodeSpec;
use warren_package::zip_inline;
use warren_registry::RegistryError;

use super::refusal::Refusal;
use crate::{edge::BodyError, state::Api};

/// Makes the zip, which counts as a request's body does for as long as it lives; whether it is in order is the registry's to judge.
pub(super) async fn zip(
    api: &Api,
    code: CodeSpec,
    runtime: Option<&str>,
    handler: Option<&str>,
) -> Result<Bytes, Refusal> {
    let hold = |zip| Ok(api.bodies().hold(zip).ok_or(BodyError::Busy)?);
    let files = match code {
        CodeSpec::Zip(encoded) => {
            let decoded = tokio::task::spawn_blocking(move || STANDARD.decode(encoded)).await;
            return match decoded {
                Ok(Ok(zip)) => hold(zip),
                _ => Err(Refusal::field("code", "code.zip is not base64.")),
            };
        }
        CodeSpec::Files(files) => files,
        CodeSpec::Source(source) => {
            let runtime = runtime.ok_or_else(|| {
                Refusal::field("runtime", "A new function needs the member 'runtime'.")
            })?;
            let catalogue = &api.invoker().launcher().catalogue;
            let resolution = catalogue.resolve(runtime).map_err(RegistryError::Runtime)?;
            let family = &resolution.recipe.family;
            let name = file_name(family, handler.unwrap_or_default(), &source)?;
            BTreeMap::from([(name, source)])
        }
    };
    let files: Vec<(String, String)> = files.into_iter().collect();
    match tokio::task::spawn_blocking(move || zip_inline(&files)).await {
        Ok(Ok(zip)) => hold(zip),
        Ok(Err(fault)) => Err(Refusal::field("code", fault.to_string())),
        Err(panic) => Err(Refusal::internal(&panic)),
    }
}

/// The file in which a runtime of this family looks for the handler.
fn file_name(family: &str, handler: &str, source: &str) -> Result<String, Refusal> {
    let refused = |why: &str| {
        Refusal::field(
            "code",
            format!("code.source can't be given a file name: {why}."),
        )
        .next("Name the file yourself, with code.files.")
    };
    match family {
        "provided" => Ok("bootstrap".to_owned()),
        "python" => match handler.rsplit_once('.') {
            Some((module, _)) if !module.is_empty() => {
                Ok(format!("{}.py", module.replace('.', "/")))
            }
            _ => Err(refused("the handler is not 'file.function'")),
        },
        "nodejs" => {
            let (folder, file) = match handler.rsplit_once('/') {
                Some((folder, file)) => (format!("{folder}/"), file),
                None => (String::new(), handler),
            };
            match file.split_once('.') {
                Some((module, _)) if !module.is_empty() => {
                    let ending = if is_module(source) { "mjs" } else { "js" };
                    Ok(format!("{folder}{module}.{ending}"))
                }
                _ => Err(refused("the handler is not 'file.function'")),
            }
        }
        _ => Err(refused("this runtime's code is more than one text")),
    }
}

/// Whether a JavaScript source is an ECMAScript module: a statement begins with `import` or `export`.
pub(super) fn is_module(source: &str) -> bool {
    source.lines().any(|line| {
        let line = line.trim_start();
        [
            "export ", "export{", "import ", "import{", "import\"", "import'",
        ]
        .iter()
        .any(|start| line.starts_with(start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handler_names_the_file() {
        let module = "export const handler = 1";
        for (family, handler, source, name) in [
            ("python", "app.handler", "", "app.py"),
            ("python", "pkg.app.handler", "", "pkg/app.py"),
            ("python", "src/app.handler", "", "src/app.py"),
            ("nodejs", "index.handler", module, "index.mjs"),
            ("nodejs", "a.b/index.handler", module, "a.b/index.mjs"),
            ("nodejs", "index.handler", "exports.handler = 1", "index.js"),
            ("provided", "x", "", "bootstrap"),
        ] {
            let made = file_name(family, handler, source);
            assert_eq!(made.as_deref(), Ok(name), "{family} {handler}");
        }
        for (family, handler) in [("python", "app"), ("nodejs", ".handler"), ("java", "a.b")] {
            let error = file_name(family, handler, "").unwrap_err();
            assert_eq!(error.field.as_deref(), Some("code"));
        }
    }
}
