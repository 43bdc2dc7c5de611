//! What is packed: said in one line, and looked through for what can't work.

use std::collections::BTreeSet;

use warren_model::native::Runtime;
use warren_package::{PackedFolder, accelerators};

use super::{
    guess::FAMILIES,
    source::{RootFile, Source},
};

/// How much was packed, and what was left out.
pub(super) fn packed(folder: &PackedFolder) -> String {
    let files = match folder.files {
        1 => "1 file".to_owned(),
        several => format!("{several} files"),
    };
    let mut text = format!(
        "Packed {files}, {} bytes ({} as a zip)",
        folder.bytes,
        folder.zip.len()
    );
    // By name, with how many there are of each.
    let mut left_out: Vec<(&str, usize)> = Vec::new();
    for path in &folder.left_out {
        let name = path.rsplit('/').next().unwrap_or(path);
        match left_out.iter_mut().find(|(other, _)| *other == name) {
            Some((_, count)) => *count += 1,
            None => left_out.push((name, 1)),
        }
    }
    let left_out: Vec<_> = left_out
        .into_iter()
        .map(|(name, count)| match count {
            1 => name.to_owned(),
            several => format!("{name} ({several} times)"),
        })
        .collect();
    if !left_out.is_empty() {
        text.push_str(&format!("; left out: {}", left_out.join(", ")));
    }
    text + "."
}

/// What its owner may not have meant. `runtime` is what really runs, if it is known.
pub(super) fn warnings(source: &Source, runtime: Option<&Runtime>) -> Vec<String> {
    let mut warnings = Vec::new();
    let is_env = |name: &&String| name.rsplit('/').next() == Some(".env");
    if let Some(name) = source.names.iter().find(is_env) {
        warnings.push(format!(
            "{name} is in the package, with whatever secrets it has; --env-file gives a function its variables without that."
        ));
    }
    let others = runtime.map_or_else(Vec::new, |runtime| {
        accelerators(source.names.iter().map(String::as_str), &runtime.id)
    });
    if let (Some(runtime), Some((entry, version))) = (runtime, others.first()) {
        let more = match others.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let runs = runtime.id.trim_start_matches("python");
        warnings.push(format!(
            "{entry}{more} is built for Python {version} and is not used on Python {runs}: its package goes on without it, slower. Install it for here: pip install --platform manylinux2014_{} --python-version {runs} --only-binary=:all: --target . PACKAGE",
            std::env::consts::ARCH
        ));
    }
    warnings
}

/// Why every call will fail, if that can be seen in the package: what the runtime starts is not there.
pub(super) fn broken(source: &Source, runtime: Option<&Runtime>, handler: &str) -> Option<String> {
    let fault = match runtime?.family.as_str() {
        "provided" => bootstrap(source),
        "python" => python(&source.names, handler),
        "nodejs" => nodejs(&source.names, handler),
        _ => None,
    }?;
    Some(format!("{fault}{}", other_language(source, runtime?)))
}

/// That the files are of another language than the runtime, if none is of its own.
fn other_language(source: &Source, runtime: &Runtime) -> String {
    let has = |endings: &[&str]| {
        let is_one = |name: &&String| endings.iter().any(|end| name.ends_with(end));
        source.names.iter().find(is_one)
    };
    let own = FAMILIES
        .iter()
        .find(|(family, _)| *family == runtime.family);
    if own.is_some_and(|(_, endings)| has(endings).is_some()) {
        return String::new();
    }
    let other = FAMILIES
        .iter()
        .filter(|(family, _)| *family != runtime.family)
        .find_map(|(family, endings)| Some((family, has(endings)?)));
    match other {
        Some((family, file)) => format!(
            " {file} is {}, and {} is not: choose a {family} runtime with --runtime (`warren runtimes` lists them).",
            match *family {
                "python" => "Python",
                _ => "JavaScript",
            },
            runtime.id
        ),
        None => String::new(),
    }
}

fn bootstrap(source: &Source) -> Option<String> {
    let is_it = |file: &&RootFile| file.name == "bootstrap";
    match source.files.iter().find(is_it) {
        Some(file) if file.executable => None,
        Some(_) => Some("bootstrap is not executable: chmod +x bootstrap.".to_owned()),
        // A link that the files at the top don't have.
        None if source.names.contains("bootstrap") => None,
        None => Some(
            "the package has no file 'bootstrap' at its root, which is what this runtime runs."
                .to_owned(),
        ),
    }
}

fn python(names: &BTreeSet<String>, handler: &str) -> Option<String> {
    let Some((module, _)) = handler.rsplit_once('.') else {
        return Some(no_function(handler, "app.handler"));
    };
    let path = module.replace('.', "/");
    let native = format!("{path}.");
    let found = has(names, &path)
        || [".py", ".pyc"]
            .iter()
            .any(|end| has(names, &format!("{path}{end}")))
        || names
            .iter()
            .any(|name| name.starts_with(&native) && name.ends_with(".so"));
    (!found).then(|| format!("handler {handler}: the package has no {path}.py."))
}

fn nodejs(names: &BTreeSet<String>, handler: &str) -> Option<String> {
    let (folder, base) = handler.rsplit_once('/').unwrap_or(("", handler));
    let Some((file, _)) = base.split_once('.') else {
        return Some(no_function(handler, "index.handler"));
    };
    let path = match folder {
        "" => file.to_owned(),
        folder => format!("{}/{file}", folder.trim_start_matches("./")),
    };
    let found = ["", ".js", ".mjs", ".cjs"]
        .iter()
        .any(|end| has(names, &format!("{path}{end}")))
        || has(names, &format!("node_modules/{file}"));
    (!found).then(|| {
        format!("handler {handler}: the package has no {path}.js, {path}.mjs or {path}.cjs.")
    })
}

fn no_function(handler: &str, example: &str) -> String {
    format!("handler {handler} names no function: write FILE.FUNCTION, such as {example}.")
}

/// Whether there is such a file or folder, or could be one behind a link.
fn has(names: &BTreeSet<String>, path: &str) -> bool {
    let folder = format!("{path}/");
    let mut above = path.match_indices('/').map(|(end, _)| &path[..end]);
    names.contains(path)
        || names.iter().any(|name| name.starts_with(&folder))
        || above.any(|above| names.contains(above))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(names: &[&str], family: &str, handler: &str) -> String {
        let source = Source {
            name: None,
            zip: Vec::new(),
            files: names
                .iter()
                .map(|name| RootFile {
                    name: (*name).to_owned(),
                    text: String::new(),
                    executable: false,
                })
                .collect(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            packed: None,
        };
        let runtime = Runtime {
            id: match family {
                "python" => "python3.13".to_owned(),
                other => other.to_owned(),
            },
            title: String::new(),
            family: family.to_owned(),
            stands_in_for: Vec::new(),
            example_handler: String::new(),
            built: true,
            size_mb: 0,
            download_mb: 0,
        };
        let mut all = warnings(&source, Some(&runtime));
        all.extend(broken(&source, Some(&runtime), handler));
        all.join("|")
    }

    #[test]
    fn a_handler_that_is_there_is_not_warned_of() {
        for (names, family, handler) in [
            (&["app.py"][..], "python", "app.handler"),
            (&["app/__init__.py"], "python", "app.handler"),
            (&["src/app.py"], "python", "src/app.handler"),
            (&["src/app.py"], "python", "src.app.handler"),
            (&["link"], "python", "link.app.handler"),
            (
                &["app.cpython-313-x86_64-linux-gnu.so"],
                "python",
                "app.handler",
            ),
            (&["index.mjs"], "nodejs", "index.handler"),
            (&["a/index.cjs"], "nodejs", "a/index.b.handler"),
            (&["node_modules/x/index.js"], "nodejs", "x.handler"),
            (&["x"], "own", "whatever"),
        ] {
            assert_eq!(warned(names, family, handler), "", "{handler}");
        }
    }

    #[test]
    fn what_can_t_work_is_warned_of() {
        for (names, family, handler, words) in [
            (&["app.py"][..], "python", "main.handler", "no main.py."),
            (&["app.py"], "python", "app", "names no function"),
            (
                &["index.js"],
                "nodejs",
                "app.handler",
                "no app.js, app.mjs or app.cjs.",
            ),
            (&["index.js"], "nodejs", "index", "such as index.handler."),
            (&["main"], "provided", "x", "no file 'bootstrap'"),
            (&["bootstrap"], "provided", "x", "chmod +x bootstrap"),
            (
                &["index.js"],
                "python",
                "app.handler",
                "no app.py. index.js is JavaScript, and python3.13 is not: choose a nodejs runtime",
            ),
            (
                &["app.py"],
                "nodejs",
                "index.handler",
                "app.py is Python, and nodejs is not: choose a python runtime",
            ),
            (
                &["app.py", "yaml/_yaml.cpython-311-x86_64-linux-gnu.so"],
                "python",
                "app.handler",
                "yaml/_yaml.cpython-311-x86_64-linux-gnu.so is built for Python 3.11 and is not used on Python 3.13",
            ),
            (
                &["app.py", "a/.env"],
                "python",
                "app.handler",
                "a/.env is in the package",
            ),
        ] {
            let text = warned(names, family, handler);
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn what_was_left_out_is_counted_by_name() {
        let mut folder = PackedFolder {
            zip: vec![0; 90],
            files: 1,
            bytes: 100,
            left_out: Vec::new(),
        };
        assert_eq!(packed(&folder), "Packed 1 file, 100 bytes (90 as a zip).");
        folder.files = 2;
        folder.left_out = [".venv", "a/__pycache__", "b/__pycache__"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(
            packed(&folder),
            "Packed 2 files, 100 bytes (90 as a zip); left out: .venv, __pycache__ (2 times)."
        );
    }
}
