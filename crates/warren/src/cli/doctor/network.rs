//! Networks: what they need, those that there are, and what dead servers left of theirs.

use std::{net::IpAddr, path::Path, time::Duration};

use rustix::process::geteuid;
use tokio::task::spawn_blocking;
use warren_network::Traces;

use super::{Check, Verdict, machine::find};
use crate::data_dir::DataDir;

/// How long a name server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// `name_servers` are those that the settings name.
pub(super) async fn checks(data_dir: &Path, name_servers: &[IpAddr]) -> Vec<Check> {
    let mut checks = parts();
    checks.extend(routers(data_dir).await);
    for server in warren_network::name_servers(name_servers) {
        checks.push(match warren_network::answers(server, PATIENCE).await {
            true => Check::ok("name server", format!("{} answers", server.ip())),
            false => Check::bad(
                "name server",
                Verdict::Warning,
                format!(
                    "{} does not answer within {} s; functions with a network ask it for names",
                    server.ip(),
                    PATIENCE.as_secs()
                ),
                "name one that does with --name-server, WARREN_NAME_SERVERS or name_servers in warren.toml (those of /etc/resolv.conf are asked otherwise)",
            ),
        });
    }
    checks
}

/// Routers of servers, and what is left of them.
async fn routers(data_dir: &Path) -> Vec<Check> {
    if !geteuid().is_root() {
        return vec![Check::bad(
            "routers",
            Verdict::Warning,
            "not looked at: only root sees network namespaces and rules",
            "run this with sudo",
        )];
    }
    let own = own_id(data_dir);
    let found = spawn_blocking(warren_network::survey).await;
    match found
        .map_err(anyhow::Error::from)
        .and_then(|found| Ok(found?))
    {
        Ok(found) if found.is_empty() => vec![Check::ok(
            "routers",
            "none: no server with networks runs on this machine",
        )],
        Ok(found) => found
            .iter()
            .map(|traces| router(traces, own.as_deref() == Some(&traces.server)))
            .collect(),
        Err(error) => vec![Check::bad(
            "routers",
            Verdict::Warning,
            warren_model::chain(error.as_ref()),
            "functions have no network without nft: run this as root, and in a container with the right NET_ADMIN",
        )],
    }
}

/// What the server of this data folder calls itself on this machine.
fn own_id(data_dir: &Path) -> Option<String> {
    let data_dir = data_dir.canonicalize().ok()?;
    let bound = DataDir::bound_in(&data_dir).ok()??;
    let id = DataDir::id_of(&data_dir, &bound.server).ok()?;
    Some(id.to_string())
}

/// One server's; `own`: it is that of the data folder that was looked at.
fn router(traces: &Traces, own: bool) -> Check {
    let part = format!("router of {}", traces.server);
    let whose = match own {
        true => ", the server of this data folder",
        false => "",
    };
    if traces.runs && traces.uplinks.is_empty() {
        return Check::bad(
            part,
            Verdict::Warning,
            format!("its uplink does not run{whose}: functions reach nothing"),
            "the server starts it again at once; if this stays, its log says why",
        );
    }
    if traces.runs && traces.table.is_none() {
        return Check::bad(
            part,
            Verdict::Warning,
            format!("its table in the host's rules is gone{whose}"),
            "the server makes it again within seconds; if this stays, its log says why",
        );
    }
    if traces.runs {
        let uplinks: Vec<_> = traces.uplinks.iter().map(i32::to_string).collect();
        let uplinks = uplinks.join(", ");
        return Check::ok(part, format!("runs{whose}, uplink process {uplinks}"));
    }
    let left: Vec<_> = [
        traces.folder.as_ref().map(|it| it.display().to_string()),
        traces
            .table
            .as_ref()
            .map(|it| format!("the nft table {it}")),
        (!traces.uplinks.is_empty()).then(|| "an uplink process".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    Check::bad(
        part,
        Verdict::Warning,
        format!(
            "left by a server that does not run{whose}: {}",
            left.join(", ")
        ),
        format!(
            "start that server again, which removes it; if it is gone for good: {}",
            traces.removal()
        ),
    )
}

/// What functions with a network need; without it they have none.
fn parts() -> Vec<Check> {
    let absent = |part: &str, next: String| {
        Check::bad(
            part,
            Verdict::Warning,
            "not found; functions with `--network internet` are refused without it",
            next,
        )
    };
    let mut checks: Vec<_> = warren_network::PROGRAMS
        .iter()
        .map(|(name, package)| match find(name) {
            Some(path) => Check::ok(*name, path.display().to_string()),
            None => absent(
                name,
                format!("run `make setup`, or install it (Debian: apt-get install {package}); then start the server again"),
            ),
        })
        .collect();
    checks.push(match Path::new(warren_network::TUN).exists() {
        true => Check::ok("tap device", warren_network::TUN),
        false => absent(
            "tap device",
            format!(
                "load the kernel module that makes {} (modprobe tun)",
                warren_network::TUN
            ),
        ),
    });
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces() -> Traces {
        Traces {
            server: "0a1b".to_owned(),
            folder: Some("/run/warren/0a1b".into()),
            table: Some("warren_0a1b".to_owned()),
            uplinks: vec![7],
            runs: true,
        }
    }

    #[test]
    fn what_runs_is_well_and_what_a_dead_server_left_has_a_next_step() {
        assert_eq!(router(&traces(), true).verdict, Verdict::Ok);
        let without = |change: fn(&mut Traces)| {
            let mut traces = traces();
            change(&mut traces);
            router(&traces, false)
        };
        let check = without(|traces| traces.uplinks.clear());
        assert!(check.found.contains("uplink does not run"), "{check:?}");
        let check = without(|traces| traces.table = None);
        assert!(check.found.contains("table"), "{check:?}");
        let dead = without(|traces| traces.runs = false);
        assert!(dead.found.contains("/run/warren/0a1b"), "{dead:?}");
        let next = dead.next_step.unwrap();
        assert!(next.contains("start that server again"), "{next}");
        assert!(next.contains("nft delete table inet warren_0a1b"), "{next}");
    }
}
