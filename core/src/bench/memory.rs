//! How much memory this process has taken.

/// The most physical memory this process has had at once, in bytes; `None` where the operating
/// system does not say (anywhere but Linux).
///
/// ```
/// use counterweight_core::bench::peak_memory;
/// assert!(peak_memory().is_none_or(|bytes| bytes > 100_000));
/// ```
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
