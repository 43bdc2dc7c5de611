//! What a request says about a run, checked.

use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use warren_invoker::RunRequest;
use warren_model::{
    Config, EngineName, Environment, EphemeralStorage, InertSettings, Memory, Timeout,
    native::{CodeSpec, DEFAULT_RUN_OUTPUT, MAX_RUN_OUTPUT, MAX_RUN_OUTPUT_JSON, RunSpec},
};
use warren_registry::RegistryError;
use warren_runtimes::{Recipe, Script};

use crate::{
    native::{code, refusal::Refusal},
    state::Api,
};

/// What a text is called that has no name, before its runtime's ending.
const STEM: &str = "main";
/// Longest argument or variable: the kernel's limit of one (MAX_ARG_STRLEN, 32 pages, its end included), in bytes.
const MAX_WORD: usize = 128 * 1024 - 1;
/// Largest arguments and variables together, in bytes: far below the kernel's limit, and they fit into one message to the agent.
const MAX_WORDS: usize = 256 * 1024;
/// Longest path of the file that is run, as of any file in a zip, and longest name of a variable, in bytes.
const MAX_NAME: usize = 1_024;

/// The input that the request itself has. Blocking, as long as its base64 takes.
pub(super) fn input(spec: &mut RunSpec) -> Result<Option<Vec<u8>>, Refusal> {
    match (spec.input.take(), spec.input_base64.take()) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(encoded)) => match STANDARD.decode(encoded) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => Err(Refusal::field(
                "input_base64",
                "input_base64 is not base64.",
            )),
        },
        (Some(_), Some(_)) => Err(Refusal::field(
            "input",
            "input and input_base64 can't stand together.",
        )),
    }
}

/// The run that is asked for. `streams`: the answer is not held in memory.
pub(super) async fn request(
    api: &Api,
    spec: RunSpec,
    streams: bool,
) -> Result<RunRequest, Refusal> {
    let engine = match &spec.engine {
        Some(name) => name.parse::<EngineName>()?,
        None => api.registry().default_engine(),
    };
    let launcher = api.invoker().launcher();
    words(&spec.args, &spec.environment)?;
    let code = spec.code.ok_or_else(|| {
        Refusal::field("code", "A run needs the member 'code'.")
            .next("Give it as code.source, code.files or code.zip.")
    })?;
    let entry = entry(spec.entry, &code)?;
    let runtime = runtime(api, spec.runtime, entry.as_deref())?;
    let (entry, code) = named(&runtime, entry, code)?;
    let zip = code::zip(api, code, Some(&runtime.id), None).await?;
    let default = launcher.default_network(engine);
    let network = spec.network.map(|policy| policy.parse()).transpose()?;
    Ok(RunRequest {
        config: Config {
            runtime: runtime.asked,
            handler: entry.clone(),
            role: String::new(),
            description: String::new(),
            timeout: spec
                .timeout_s
                .map_or(Ok(Timeout::default()), Timeout::new)?,
            memory: spec.memory_mb.map_or(Ok(Memory::default()), Memory::new)?,
            ephemeral_storage: spec
                .ephemeral_storage_mb
                .map_or(Ok(EphemeralStorage::default()), EphemeralStorage::new)?,
            environment: Environment::default(),
            engine,
            network: network.unwrap_or(default),
            snap_start: false,
            inert: InertSettings::new(),
        },
        zip,
        entry,
        args: spec.args,
        environment: spec.environment,
        max_output: max_output(spec.max_output_bytes, streams)?,
    })
}

/// The runtime of a run.
struct Runtime {
    /// As it was asked for.
    asked: String,
    /// The recipe's own id.
    id: String,
    script: Option<Script>,
}

impl Runtime {
    fn of(asked: String, recipe: &Recipe) -> Self {
        Self {
            asked,
            id: recipe.id.clone(),
            script: recipe.script.clone(),
        }
    }
}

fn runtime(api: &Api, asked: Option<String>, entry: Option<&str>) -> Result<Runtime, Refusal> {
    let catalogue = &api.invoker().launcher().catalogue;
    if let Some(asked) = asked {
        let resolution = catalogue.resolve(&asked).map_err(RegistryError::Runtime)?;
        return Ok(Runtime::of(asked, &resolution.recipe));
    }
    let Some(entry) = entry else {
        return Err(Refusal::field(
            "runtime",
            "A text without a name needs the member 'runtime', or 'entry' with an ending that tells.",
        )
        .next("'warren runtimes' shows the runtimes there are."));
    };
    match catalogue.for_script(entry) {
        Some(recipe) => Ok(Runtime::of(recipe.id.clone(), recipe)),
        None => Err(Refusal::field(
            "runtime",
            format!("The name '{entry}' does not tell the runtime: its ending is none that a runtime here runs."),
        )
        .next("Name the runtime; 'warren runtimes' shows those there are.")),
    }
}

/// The file that is run, where it is known without the runtime.
fn entry(asked: Option<String>, code: &CodeSpec) -> Result<Option<String>, Refusal> {
    let entry = match (asked, code) {
        (Some(entry), _) => entry,
        (None, CodeSpec::Source(_)) => return Ok(None),
        (None, CodeSpec::Files(files)) if files.len() == 1 => match files.keys().next() {
            Some(only) => only.clone(),
            None => return Ok(None),
        },
        (None, CodeSpec::Files(_) | CodeSpec::Zip(_)) => {
            return Err(
                Refusal::field("entry", "Code of several files needs the member 'entry'.")
                    .next("Name the file that is to be run."),
            );
        }
    };
    if entry.len() > MAX_NAME {
        return Err(Refusal::field(
            "entry",
            format!(
                "entry can't have {} bytes; the limit is {MAX_NAME}.",
                entry.len()
            ),
        )
        .next("Name a file of the code, by its path there."));
    }
    let inside = !entry.is_empty()
        && !entry.contains('\0')
        && Path::new(&entry)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
    match inside {
        true => Ok(Some(entry)),
        false => Err(Refusal::field(
            "entry",
            "entry must be the path of a file in the code, without a '/' at its begin and without '..'.",
        )),
    }
}

/// The file that is run, and code in which it has its name.
fn named(
    runtime: &Runtime,
    entry: Option<String>,
    code: CodeSpec,
) -> Result<(String, CodeSpec), Refusal> {
    let source = match (code, &entry) {
        (CodeSpec::Source(source), _) => source,
        (code, Some(entry)) => return Ok((entry.clone(), code)),
        (_, None) => return Err(Refusal::field("entry", "The run needs the member 'entry'.")),
    };
    let name = entry.unwrap_or_else(|| {
        let endings = runtime.script.as_ref().map(|script| &script.endings);
        let ending = endings.and_then(|endings| {
            let module = code::is_module(&source) && endings.iter().any(|end| end == "mjs");
            match module {
                true => Some("mjs"),
                false => endings.first().map(String::as_str),
            }
        });
        ending.map_or(STEM.to_owned(), |ending| format!("{STEM}.{ending}"))
    });
    let files = BTreeMap::from([(name.clone(), source)]);
    Ok((name, CodeSpec::Files(files)))
}

fn max_output(asked: Option<u64>, streams: bool) -> Result<u64, Refusal> {
    let (default, most) = match streams {
        true => (DEFAULT_RUN_OUTPUT, MAX_RUN_OUTPUT),
        false => (MAX_RUN_OUTPUT_JSON, MAX_RUN_OUTPUT_JSON),
    };
    match asked {
        None => Ok(default),
        Some(bytes) if (1..=most).contains(&bytes) => Ok(bytes),
        Some(bytes) => {
            let refusal = Refusal::field(
                "max_output_bytes",
                format!("max_output_bytes can't be '{bytes}': it must be between 1 and {most}."),
            );
            Err(match streams {
                true => refusal,
                false => refusal.next(
                    "An answer that streams (Accept: application/vnd.warren.run) takes more.",
                ),
            })
        }
    }
}

/// Arguments and variables become those of a process, which sets their limits.
fn words(args: &[String], environment: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let mut total = 0;
    for arg in args {
        if arg.contains('\0') || arg.len() > MAX_WORD {
            return Err(Refusal::field(
                "args",
                format!(
                    "args can't have one with a NUL character or with more than {MAX_WORD} bytes."
                ),
            ));
        }
        total += arg.len() + 1;
    }
    for (name, value) in environment {
        if name.len() > MAX_NAME {
            return Err(Refusal::field(
                "environment",
                format!(
                    "environment can't have a name of {} bytes; the limit is {MAX_NAME}.",
                    name.len()
                ),
            )
            .next("Choose a shorter name."));
        }
        let mut characters = name.chars();
        let well_formed = characters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !well_formed {
            return Err(Refusal::field(
                "environment",
                format!(
                    "environment can't have the name '{name}': it must be letters, digits and '_', a digit not first."
                ),
            ));
        }
        if value.contains('\0') || name.len() + value.len() > MAX_WORD {
            return Err(Refusal::field(
                "environment",
                format!(
                    "environment can't have this value of '{name}': it has a NUL character or more than {MAX_WORD} bytes."
                ),
            ));
        }
        total += name.len() + value.len() + 2;
    }
    if total > MAX_WORDS {
        return Err(Refusal::field(
            "args",
            format!("args and environment have {total} bytes together; the limit is {MAX_WORDS}."),
        )
        .next("Give it as input, or as a file of the code."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> CodeSpec {
        let named = names.iter().map(|name| ((*name).to_owned(), String::new()));
        CodeSpec::Files(named.collect())
    }

    #[test]
    fn the_only_file_is_the_entry_and_others_are_named() {
        assert_eq!(
            entry(None, &files(&["a.py"])).unwrap().as_deref(),
            Some("a.py")
        );
        let refusal = entry(None, &files(&["a.py", "b.py"])).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("entry"));
        for bad in ["", "/a.py", "../a.py", "a/../b.py", "a\0"] {
            let refusal = entry(Some(bad.to_owned()), &files(&["a.py"])).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some("entry"), "{bad:?}");
        }
    }

    #[test]
    fn a_text_takes_its_runtime_s_ending() {
        let runtime = |endings: &[&str]| Runtime {
            asked: String::new(),
            id: String::new(),
            script: Some(Script {
                command: vec!["/x".to_owned()],
                endings: endings.iter().map(|end| (*end).to_owned()).collect(),
            }),
        };
        for (endings, source, name) in [
            (&["py"][..], "import os", "main.py"),
            (&["js", "mjs"], "import os from 'os'", "main.mjs"),
            (&["js", "mjs"], "require('os')", "main.js"),
        ] {
            let code = CodeSpec::Source(source.to_owned());
            let (found, _) = named(&runtime(endings), None, code).unwrap();
            assert_eq!(found, name);
        }
    }

    #[test]
    fn output_has_a_bound_that_fits_its_form() {
        assert_eq!(max_output(None, true), Ok(64 << 20));
        assert_eq!(max_output(None, false), Ok(6 << 20));
        assert_eq!(max_output(Some(1 << 30), true), Ok(1 << 30));
        for (asked, streams) in [(0, true), (u64::MAX, true), (7 << 20, false)] {
            let refusal = max_output(Some(asked), streams).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some("max_output_bytes"));
        }
    }

    #[test]
    fn what_no_process_can_have_is_refused() {
        let none = BTreeMap::new();
        let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert!(words(&["a".to_owned()], &one("_A1", "x")).is_ok());
        assert!(words(&["a\0".to_owned()], &none).is_err());
        assert!(words(&vec!["x".repeat(1000); 300], &none).is_err());
        for name in ["", "1A", "A-B", "A=B"] {
            assert!(words(&[], &one(name, "x")).is_err(), "{name}");
        }
        assert!(words(&[], &one("A", "\0")).is_err());
    }

    #[test]
    fn long_names_are_refused_and_not_repeated() {
        let long = "x".repeat(MAX_NAME + 1);
        let refusals = [
            entry(Some(long.clone()), &files(&["a.py"])).unwrap_err(),
            words(&[], &BTreeMap::from([(long.clone(), String::new())])).unwrap_err(),
        ];
        for refusal in refusals {
            let detail = &refusal.detail;
            assert!(
                detail.contains("1025 bytes") && detail.contains("the limit is 1024"),
                "{detail}"
            );
            assert!(!detail.contains(&long) && refusal.next_step.is_some());
        }
        let longest = &long[1..];
        assert!(entry(Some(longest.to_owned()), &files(&["a.py"])).is_ok());
        assert!(words(&[], &BTreeMap::from([(longest.to_owned(), String::new())])).is_ok());
    }
}
