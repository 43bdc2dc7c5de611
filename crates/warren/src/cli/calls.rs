use std::time::Duration;

use clap::Args as ClapArgs;
use warren_client::CallQuery;
use warren_model::native::{Call, CallPage, Since};

use super::{connection::Connection, failure::Failure, output::Output, table::table};

const EXAMPLES: &str = "\
Examples:
  warren calls
  warren calls hello --limit 5
  warren calls hello --since 10m --outcome failed

WAIT is what a call waited for at its instance, and how long; '-' is a warm one.
CPU with a number behind it is of so many calls together: short ones are not looked at one by one.
PEAK is of the instance's life so far. The times up to HANDLER make the time to the answer.";

/// `warren calls`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function; all without it
    function: Option<String>,
    /// Calls that arrived no earlier than this: 30s, 10m, 2h, 1d, or a moment such as 2026-11-24T10:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// This many calls at most, the latest ones, 1 to 1000 [default: 20]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Calls on this engine only
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Calls with this outcome only
    #[arg(long, value_name = "OUTCOME", value_parser = ["answer", "error", "failed", "refused"])]
    outcome: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// Calls that are shown, if nothing else is asked for.
const SHOWN: u32 = 20;

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let query = CallQuery {
        function: args.function.clone(),
        engine: args.engine.clone(),
        outcome: args.outcome.clone(),
        since: args.since,
        limit: Some(args.limit.unwrap_or(SHOWN)),
        cursor: None,
    };
    let page = args.connection.client()?.calls(&query).await?;
    args.output.print(&page, text)
}

fn text(page: &CallPage) -> String {
    let mut text = match page.calls.is_empty() {
        true => "No call is recorded that fits.\n".to_owned(),
        false => table(
            [
                "ARRIVED", "REQUEST", "FUNCTION", "ENGINE", "WAIT", "QUEUED", "INIT", "HANDLER",
                "CPU", "PEAK", "OUTCOME",
            ],
            &page.calls.iter().map(row).collect::<Vec<_>>(),
        ),
    };
    if page.dropped > 0 {
        text.push_str(&format!(
            "{} calls since the server's start have no record.\n",
            page.dropped
        ));
    }
    text
}

fn row(call: &Call) -> [String; 11] {
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    [
        call.arrived.clone(),
        call.request_id.clone(),
        call.function.clone(),
        call.engine.clone(),
        match call.wait.as_str() {
            "none" => "-".to_owned(),
            kind => format!("{kind} {}", time(call.wait_us)),
        },
        time(call.queued_us),
        match call.init_us + call.init_again_us.unwrap_or(0) {
            0 => "-".to_owned(),
            init => time(init),
        },
        known(call.handler_us.map(time)),
        known(call.cpu_us.map(|us| match call.cpu_calls {
            None | Some(1) => time(us),
            Some(calls) => format!("{} ({calls})", time(us)),
        })),
        known(
            call.peak_bytes
                .map(|bytes| format!("{} MB", bytes.div_ceil(1 << 20))),
        ),
        match &call.reason {
            Some(reason) => format!("{} ({reason})", call.outcome),
            None => call.outcome.clone(),
        },
    ]
}

/// Microseconds in the unit that fits.
fn time(us: u64) -> String {
    let seconds = Duration::from_micros(us).as_secs_f64();
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{:.2} ms", seconds * 1_000.0),
        10_000..1_000_000 => format!("{:.1} ms", seconds * 1_000.0),
        _ => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_a_table() {
        let warm = Call {
            request_id: "8f5c".to_owned(),
            function: "hello".to_owned(),
            version: "$LATEST".to_owned(),
            revision: "r".to_owned(),
            engine: "runc".to_owned(),
            instance: Some("i".to_owned()),
            node: "n".to_owned(),
            boot: 1,
            arrived: "2026-11-24T10:22:45.000Z".to_owned(),
            arrived_us: 1_795_515_765_000_000,
            attempts: 1,
            queued_us: 7,
            wait: "none".to_owned(),
            wait_us: 0,
            init_us: 0,
            init_again_us: None,
            instance_init_us: None,
            handler_us: Some(450),
            answered_us: 457,
            closing_us: 30,
            bytes_in: 2,
            bytes_out: 4,
            cpu_us: Some(12_345),
            cpu_calls: Some(40),
            peak_bytes: Some(20 << 20 | 1),
            outcome: "answer".to_owned(),
            reason: None,
            error_type: None,
            trace: None,
        };
        let cold = Call {
            wait: "start".to_owned(),
            wait_us: 25_000,
            init_us: 40_500,
            handler_us: Some(1_000_000),
            cpu_calls: Some(1),
            outcome: "failed".to_owned(),
            reason: Some("timeout".to_owned()),
            ..warm.clone()
        };
        let refused = Call {
            instance: None,
            handler_us: None,
            cpu_us: None,
            cpu_calls: None,
            peak_bytes: None,
            outcome: "refused".to_owned(),
            reason: Some("host_busy".to_owned()),
            ..warm.clone()
        };
        insta::assert_snapshot!(text(&CallPage {
            calls: vec![warm, cold, refused],
            next_cursor: None,
            dropped: 3,
        }));
    }

    #[test]
    fn times_have_a_fitting_unit() {
        for (us, text) in [
            (0, "0 us"),
            (999, "999 us"),
            (1_000, "1.00 ms"),
            (12_345, "12.3 ms"),
            (2_500_000, "2.50 s"),
        ] {
            assert_eq!(time(us), text);
        }
    }
}
