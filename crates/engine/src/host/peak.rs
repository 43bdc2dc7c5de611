//! The most memory that processes have used, as the kernel keeps it for each.

use std::fs;

/// Sum, in bytes, over the processes whose ids stand one on a line (`cgroup.procs`), of the most memory that each had resident (`VmHWM` of
/// `/proc/PID/status`, proc(5)) without its pages of files. Short bursts are in it; processes that have ended are not.
pub(super) fn of_processes(ids: &str) -> u64 {
    statuses(ids).filter_map(|status| of_status(&status)).sum()
}

fn statuses(ids: &str) -> impl Iterator<Item = String> + '_ {
    ids.lines()
        .filter_map(|id| fs::read_to_string(format!("/proc/{}/status", id.trim())).ok())
}

/// The same for processes that show the same memory to the function, as those of a gVisor sandbox do: the largest of them counts, and what the others have
/// of their own now.
pub(super) fn of_sharers(ids: &str) -> u64 {
    of_sharing(statuses(ids))
}

fn of_sharing(statuses: impl Iterator<Item = String>) -> u64 {
    let found: Vec<(u64, u64)> = statuses
        .filter_map(|status| Some((of_status(&status)?, kib(&status, "RssAnon")? * 1024)))
        .collect();
    let Some((place, (peak, _))) = found.iter().enumerate().max_by_key(|(_, (peak, _))| *peak)
    else {
        return 0;
    };
    let others = found
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != place);
    peak + others.map(|(_, (_, own))| own).sum::<u64>()
}

fn of_status(status: &str) -> Option<u64> {
    // The pages of files are those of now; they hardly change once a runtime is loaded.
    Some(kib(status, "VmHWM")?.saturating_sub(kib(status, "RssFile").unwrap_or(0)) * 1024)
}

fn kib(status: &str, key: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_files_are_left_out() {
        let status = "Name:\tpython3\nVmPeak:\t  90000 kB\nVmHWM:\t   75000 kB\nVmRSS:\t   20000 kB\nRssAnon:\t   10000 kB\nRssFile:\t   5000 kB\n";
        assert_eq!(of_status(status), Some(70_000 * 1024));
        assert_eq!(of_status("Name:\tkworker\n"), None);
    }

    #[test]
    fn memory_that_is_shown_twice_counts_once() {
        let of = |peak: u64, own: u64| {
            format!(
                "VmHWM:\t{peak} kB\nRssAnon:\t{own} kB\nRssFile:\t100 kB\nRssShmem:\t{peak} kB\n"
            )
        };
        let stubs = [of(70_100, 300), of(90_100, 2_000), of(80_100, 500)];
        assert_eq!(of_sharing(stubs.into_iter()), (90_000 + 300 + 500) * 1024);
        assert_eq!(of_sharing(["Name:\tkworker\n".to_owned()].into_iter()), 0);
        assert_eq!(of_sharers("999999999\n"), 0);
    }

    #[test]
    fn a_burst_of_this_process_is_seen_after_it() {
        let ids = format!("{}\n", std::process::id());
        let before = of_processes(&ids);
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        let after = of_processes(&ids);
        assert!(after >= before.max(64 << 20), "{before} {after}");
        assert_eq!(of_processes("999999999\n"), 0);
    }
}
