//! The most memory that processes have used, as the kernel keeps it for each.

use std::fs;

/// Sum, in bytes, over the processes whose ids stand one on a line (`cgroup.procs`), of the most memory that each had resident (`VmHWM` of
/// `/proc/PID/status`, proc(5)) without its pages of files. Short bursts are in it; processes that have ended are not.
pub(super) fn of_processes(ids: &str) -> u64 {
    ids.lines()
        .filter_map(|id| fs::read_to_string(format!("/proc/{}/status", id.trim())).ok())
        .filter_map(|status| of_status(&status))
        .sum()
}

fn of_status(status: &str) -> Option<u64> {
    let kib = |key: &str| -> Option<u64> {
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.parse().ok()
    };
    // The pages of files are those of now; they hardly change once a runtime is loaded.
    Some(kib("VmHWM")?.saturating_sub(kib("RssFile").unwrap_or(0)) * 1024)
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
    fn a_burst_of_this_process_is_seen_after_it() {
        let ids = format!("{}\n", std::process::id());
        let before = of_processes(&ids);
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        let after = of_processes(&ids);
        assert!(after >= before.max(64 << 20), "{before} {after}");
        assert_eq!(of_processes("999999999\n"), 0);
    }
}
