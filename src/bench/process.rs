//! CPU time and memory of a process, as the kernel counts them (proc(5)).

use std::time::Duration;

use anyhow::Context;

/// The kernel counts CPU time in hundredths of a second for every program (`USER_HZ`, proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// CPU time of all threads of process `id` so far, in user code and in the kernel.
pub(crate) fn cpu(id: u32) -> anyhow::Result<Duration> {
    let stat = read(id, "stat")?;
    ticks(&stat).map(|ticks| TICK * ticks).with_context(|| format!("/proc/{id}/stat is not as proc(5) says"))
}

/// Memory of process `id` that is in RAM now, bytes.
pub(crate) fn memory(id: u32) -> anyhow::Result<u64> {
    let status = read(id, "status")?;
    resident(&status).with_context(|| format!("/proc/{id}/status names no VmRSS"))
}

fn read(id: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{id}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: the benchmark needs Linux and a process that runs"))
}

/// Fields 14 and 15; the name in field 2 may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u32> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "42 (tim (b) re) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 200";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("42 timbre"), None);
        assert_eq!(resident("Name:\ttimbre\nVmRSS:\t   1024 kB\nThreads:\t3\n"), Some(1_048_576));
        assert_eq!(resident("Name:\ttimbre\n"), None);
        assert!(memory(std::process::id()).is_ok_and(|bytes| bytes > 0));
        assert!(cpu(std::process::id()).is_ok());
    }
}
