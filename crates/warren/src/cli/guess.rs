//! Runtime and handler, guessed from files where only one thing can be meant.

use warren_model::native::Runtime;

use super::{failure::Failure, source::RootFile};

/// A language, by the endings of its files.
pub(super) const FAMILIES: [(&str, &[&str]); 2] =
    [("python", &[".py"]), ("nodejs", &[".mjs", ".js", ".cjs"])];
/// Names of functions that people give their handlers.
const HANDLERS: [&str; 2] = ["handler", "lambda_handler"];

/// The newest runtime of the files' language, and the file that says so.
pub(super) fn runtime<'r>(
    files: &[RootFile],
    runtimes: &'r [Runtime],
) -> Result<(&'r Runtime, String), Failure> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for (family, endings) in FAMILIES {
        let file = files
            .iter()
            .find(|file| endings.iter().any(|end| file.name.ends_with(end)));
        found.extend(file.map(|file| (family, file.name.clone())));
    }
    if let Some(file) = files.iter().find(|f| f.name == "bootstrap" && f.executable) {
        found = vec![("provided", file.name.clone())];
    }
    let hint = "Choose one with --runtime; `warren runtimes` lists them.";
    match found.as_slice() {
        [] => Err(Failure::usage(
            "the files do not tell which language this is: none at the top is Python, JavaScript or an executable 'bootstrap'",
        )
        .hint(hint)),
        [(family, file)] => runtimes
            .iter()
            .filter(|runtime| runtime.family == *family)
            .max_by_key(|runtime| version(&runtime.id))
            .map(|runtime| (runtime, file.clone()))
            .ok_or_else(|| {
                Failure::usage(format!(
                    "{file} is {family} code, for which the server has no runtime"
                ))
                .hint(hint)
            }),
        [(_, first), (_, second), ..] => Err(Failure::usage(format!(
            "the files do not tell which language this is: there are {first} and {second}"
        ))
        .hint(hint)),
    }
}

/// The numbers in an id, so that 3.9 comes before 3.13.
fn version(id: &str) -> Vec<u32> {
    id.split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// The handler of files of this runtime.
pub(super) fn handler(files: &[RootFile], runtime: &Runtime) -> Result<String, Failure> {
    if runtime.family == "provided" {
        return Ok(runtime.example_handler.clone());
    }
    let endings = FAMILIES
        .iter()
        .find(|(family, _)| *family == runtime.family)
        .map_or(&[][..], |(_, endings)| endings);
    let candidates: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let stem = endings.iter().find_map(|end| file.name.strip_suffix(end))?;
            let defines: fn(&str, &str) -> bool = match runtime.family.as_str() {
                "python" => python_defines,
                _ => javascript_exports,
            };
            let function = HANDLERS.iter().find(|name| defines(&file.text, name))?;
            Some(format!("{stem}.{function}"))
        })
        .collect();
    let hint = format!(
        "Name it with --handler FILE.FUNCTION, such as --handler {}.",
        runtime.example_handler
    );
    match candidates.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::usage(format!(
            "no file at the top defines a function '{}'",
            HANDLERS.join("' or '")
        ))
        .hint(hint)),
        several if several.contains(&runtime.example_handler) => {
            Ok(runtime.example_handler.clone())
        }
        several => Err(Failure::usage(format!(
            "several files could have the handler: {}",
            several.join(", ")
        ))
        .hint(hint)),
    }
}

fn python_defines(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let after = line
            .strip_prefix("async def ")
            .or_else(|| line.strip_prefix("def "))
            .or(Some(line))
            .and_then(|line| line.strip_prefix(name));
        after.is_some_and(|rest| {
            let rest = rest.trim_start();
            rest.starts_with('(') && line.contains("def ")
                || rest.starts_with('=') && !rest.starts_with("==")
        })
    })
}

fn javascript_exports(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let words: Vec<&str> = line
            .split(|character: char| !(character.is_alphanumeric() || character == '_'))
            .filter(|word| !word.is_empty())
            .collect();
        match words.first() {
            Some(&"export") => words.contains(&name),
            Some(&"exports") => words.get(1) == Some(&name),
            Some(&"module") => words.get(1) == Some(&"exports") && words[2..].contains(&name),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtimes() -> Vec<Runtime> {
        [
            ("nodejs20.x", "nodejs", "index.handler"),
            ("nodejs24.x", "nodejs", "index.handler"),
            ("provided.al2023", "provided", "bootstrap"),
            ("python3.9", "python", "app.handler"),
            ("python3.13", "python", "app.handler"),
        ]
        .map(|(id, family, example)| Runtime {
            id: id.to_owned(),
            title: String::new(),
            family: family.to_owned(),
            stands_in_for: Vec::new(),
            example_handler: example.to_owned(),
            built: true,
            size_mb: 0,
            download_mb: 0,
        })
        .to_vec()
    }

    fn file(name: &str, text: &str) -> RootFile {
        RootFile {
            name: name.to_owned(),
            text: text.to_owned(),
            executable: name == "bootstrap",
        }
    }

    fn guessed(files: &[RootFile]) -> Result<(String, String), String> {
        let all = runtimes();
        let (runtime, _) = runtime(files, &all).map_err(|failure| failure.text())?;
        let handler = handler(files, runtime).map_err(|failure| failure.text())?;
        Ok((runtime.id.clone(), handler))
    }

    #[test]
    fn what_can_only_be_meant_is_found() {
        let python = "import os\n\ndef lambda_handler(event, context):\n    pass\n";
        let module = "export const handler = async () => 1;\n";
        let common = "exports.handler = async () => 1;\n";
        for (files, runtime, found) in [
            (
                vec![file("app.py", "def handler(e, c): ..")],
                "python3.13",
                "app.handler",
            ),
            (
                vec![file("main.py", python), file("util.py", "x = 1")],
                "python3.13",
                "main.lambda_handler",
            ),
            (
                vec![file("main.py", "handler = make()")],
                "python3.13",
                "main.handler",
            ),
            (
                vec![file("index.mjs", module), file("package.json", "{}")],
                "nodejs24.x",
                "index.handler",
            ),
            (vec![file("a.js", common)], "nodejs24.x", "a.handler"),
            (
                vec![file("a.js", "module.exports = { handler };")],
                "nodejs24.x",
                "a.handler",
            ),
            (
                vec![file("bootstrap", ""), file("x.py", "")],
                "provided.al2023",
                "bootstrap",
            ),
            (
                vec![
                    file("app.py", "def handler(e, c): .."),
                    file("b.py", "def handler(e, c): .."),
                ],
                "python3.13",
                "app.handler",
            ),
        ] {
            let expected = Ok((runtime.to_owned(), found.to_owned()));
            assert_eq!(guessed(&files), expected, "{files:?}");
        }
    }

    #[test]
    fn what_could_be_two_things_is_asked() {
        for (files, words) in [
            (
                vec![file("a.py", ""), file("b.js", "")],
                "there are a.py and b.js",
            ),
            (vec![file("README.md", "")], "do not tell which language"),
            (vec![file("a.py", "x = 1")], "no file at the top defines"),
            (
                vec![
                    file("a.py", "def handlers(x): .."),
                    file("b.py", "if handler == 1: .."),
                ],
                "no file",
            ),
            (
                vec![
                    file("a.py", "def handler(x): .."),
                    file("b.py", "def handler(x): .."),
                ],
                "a.handler, b.handler",
            ),
        ] {
            let text = guessed(&files).unwrap_err();
            assert!(text.contains(words), "{text}");
            assert!(text.contains("--"), "{text}");
        }
    }
}
