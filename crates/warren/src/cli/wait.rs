use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use warren_client::Client;
use warren_model::native::{Function, LastUpdate, State};

use super::{failure::Failure, output::on_terminal};

/// First and longest pause between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a bar moves.
const TICK: Duration = Duration::from_millis(100);

/// Waits until a function is not being prepared any more, well or not; somebody who watches sees that it goes on.
pub(super) async fn settled(client: &Client, function: Function) -> Result<Function, Failure> {
    let mut function = function;
    if !function.in_preparation() {
        return Ok(function);
    }
    let bar = bar(format!("{} is being prepared", function.name));
    let mut pause = FIRST_PAUSE;
    while function.in_preparation() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        function = client.function(&function.name).await?;
        if let Some(progress) = &function.progress {
            bar.set_message(format!(
                "the first function of a language waits for its root file system: {progress}"
            ));
        }
    }
    bar.finish_and_clear();
    Ok(function)
}

/// The failure of a function that could not be prepared, if so.
pub(super) fn check(function: &Function) -> Result<(), Failure> {
    let reason = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "no reason".to_owned());
    let name = &function.name;
    match (function.state, function.last_update) {
        (State::Failed, _) => Err(Failure::failed(format!(
            "{name} could not be prepared: {}",
            reason(&function.state_reason)
        ))
        .hint("Deploying again tries it again.")),
        (_, Some(LastUpdate::Failed)) => Err(Failure::failed(format!(
            "the update of {name} could not be prepared, and what was deployed before still runs: {}",
            reason(&function.last_update_reason)
        ))
        .hint("Deploying again tries it again.")),
        _ => Ok(()),
    }
}

/// A moving bar on a terminal, nothing elsewhere.
fn bar(message: String) -> ProgressBar {
    if !on_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}
