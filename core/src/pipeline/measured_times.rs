//! How long steps took when they were last measured here, kept in the person's cache folder: the same
//! network takes as long on the next folder, and in the next program that is started.
//!
//! They are a help and never needed: a file that is damaged, or that another version wrote, is passed
//! over and replaced, and what is not known is measured.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, RefreshKind, System};

use crate::error::Result;
use crate::files::{self, LARGEST_TEXT, cache_folder, write_atomically};
use crate::kernels::InstructionSet;

/// What else the machine has to do changes, so what is said before a training was measured a short
/// while ago.
pub(super) const JUST_NOW: Duration = Duration::from_mins(10);
/// What is only offered need not be measured again on the same day.
pub(super) const TODAY: Duration = Duration::from_hours(24);
/// Times that are kept, the last ones.
const MOST: usize = 200;
/// Threads for each core that want to run, from which on a machine is busy. This program wants one.
const BUSY: f64 = 1.5;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// When, in seconds since 1970.
    at: u64,
    /// What it took.
    seconds: f64,
    /// Whether other programs kept the machine busy: then it takes less as soon as they end.
    #[serde(default)]
    is_busy: bool,
}

/// By what was measured, where and by which version.
type Times = BTreeMap<String, Measured>;

/// What was measured by this process, for where there is no folder to keep it in.
static OWN: Mutex<Times> = Mutex::new(Times::new());

/// Seconds that `what` took when it was measured on this machine, at most so long ago, or else takes
/// now. Of GPUs it is known as long as the program runs: the next one may find another card under the
/// same number.
///
/// # Errors
/// Those of `measure`.
pub(super) fn known_or(
    what: &str,
    oldest: Duration,
    is_cpu: bool,
    measure: impl FnOnce() -> Result<f64>,
) -> Result<f64> {
    let path = cache_folder().filter(|_| is_cpu).map(|folder| folder.join("measured-times"));
    let key = format!("{what} {}", machine());
    let now = seconds_since_1970();
    let known = path.as_deref().map(read).unwrap_or_default();
    if let Some(seconds) =
        [&*own(), &known].into_iter().find_map(|times| fresh(times, &key, now, oldest))
    {
        return Ok(seconds);
    }
    let is_busy = is_busy();
    let measured = Measured { at: now, seconds: measure()?, is_busy };
    own().insert(key.clone(), measured);
    if let Some(path) = path {
        keep(path, key, measured);
    }
    Ok(measured.seconds)
}

fn own() -> std::sync::MutexGuard<'static, Times> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a time holds for: the processor with its threads, and the kernels of this version.
fn machine() -> String {
    let asked = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(asked);
    let processor = system.cpus().first().map_or("", |one| one.brand());
    format!(
        "{processor} {} threads {} {}",
        rayon::current_num_threads(),
        InstructionSet::best().name(),
        env!("CARGO_PKG_VERSION")
    )
}

/// Whether more wants to run than there are cores for, this program apart, as far as the system
/// tells (Windows does not).
fn is_busy() -> bool {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get()) as f64;
    System::load_average().one > BUSY * cores
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time that is no older than that. One from the future was written under another clock.
fn fresh(times: &Times, key: &str, now: u64, oldest: Duration) -> Option<f64> {
    let Measured { at, seconds, is_busy } = times.get(key)?;
    let oldest = if *is_busy { oldest.min(JUST_NOW) } else { oldest };
    let is_fresh = now.checked_sub(*at).is_some_and(|age| age <= oldest.as_secs());
    (is_fresh && seconds.is_finite() && *seconds > 0.0).then_some(*seconds)
}

/// What is in a file; nothing if it is not there or not in order.
fn read(path: &Path) -> Times {
    let text = files::read_text(path, LARGEST_TEXT).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Adds a time to a file. Where it cannot be written, it is measured again another time.
fn keep(path: PathBuf, key: String, measured: Measured) {
    let mut times = read(&path);
    // Those of a clock that was put back since would never make room.
    times.retain(|_, one| one.at <= measured.at);
    times.insert(key, measured);
    let mut ages: Vec<u64> = times.values().map(|one| one.at).collect();
    ages.sort_unstable_by(|a, b| b.cmp(a));
    if let Some(last) = ages.get(MOST - 1) {
        times.retain(|_, one| one.at >= *last);
    }
    let _ = write_atomically(&path, |out| {
        serde_json::to_writer_pretty(&mut *out, &times)?;
        out.write_all(b"\n")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_holds_for_a_while_and_on_its_own_machine() {
        let measured = |at, seconds| Measured { at, seconds, is_busy: false };
        let times = Times::from([
            ("a".to_string(), measured(1000, 0.25)),
            ("nonsense".to_string(), measured(1000, f64::NAN)),
            ("busy".to_string(), Measured { is_busy: true, ..measured(1000, 9.0) }),
        ]);
        let asked = |key, now| fresh(&times, key, now, JUST_NOW);
        assert_eq!(asked("a", 1000), Some(0.25));
        assert_eq!(asked("a", 1600), Some(0.25));
        assert_eq!(asked("a", 1601), None);
        assert_eq!(fresh(&times, "a", 1601, TODAY), Some(0.25));
        assert_eq!(fresh(&times, "a", 1000 + 24 * 3600 + 1, TODAY), None);
        // It may be over by then.
        let busy = |now| fresh(&times, "busy", now, TODAY);
        assert_eq!([busy(1600), busy(1601)], [Some(9.0), None]);
        // A clock that was put back.
        assert_eq!(asked("a", 999), None);
        assert_eq!(asked("b", 1000), None);
        assert_eq!(asked("nonsense", 1000), None);
        assert!(machine().contains("threads"), "{}", machine());
    }

    #[test]
    fn times_are_kept_beside_others_and_the_oldest_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/measured-times");
        for at in 1..=MOST as u64 + 20 {
            keep(path.clone(), at.to_string(), Measured { at, seconds: 0.5, is_busy: false });
        }
        let times = read(&path);
        assert_eq!(times.len(), MOST);
        assert!(!times.contains_key("20") && times.contains_key("21"));
        // A damaged file is passed over and replaced; so is one of somebody else.
        for damaged in ["{\"1\": {\"at\"", "[1, 2]", "\u{0}", "{\"1\": 7}"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(read(&path).is_empty(), "{damaged}");
            keep(path.clone(), "a".into(), Measured { at: 1, seconds: 0.5, is_busy: false });
            assert_eq!(read(&path).len(), 1);
        }
        // A folder in its place is left alone.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        keep(path.clone(), "a".into(), Measured { at: 1, seconds: 0.5, is_busy: false });
        assert!(path.is_dir());
    }
}
