//! Getting kernels ready: the first step compiles them for the GPU it finds. That takes a while,
//! and nothing would be said of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use burn::tensor::Device;

use crate::job::Job;
use crate::ops;

/// Kernels that were compiled since this program began.
static COMPILED: AtomicU64 = AtomicU64::new(0);
/// Whether it was said what is being done.
static EXPLAINED: AtomicBool = AtomicBool::new(false);

/// Runs `work`, the first that a device is given of its sort, and says meanwhile how many kernels
/// were compiled: as a phase of `job`, which the caller follows with its next one. On the CPU there
/// is nothing to prepare and nothing is said.
pub fn while_preparing<T>(device: &Device, job: Job<'_>, work: impl FnOnce() -> T) -> T {
    if ops::is_cpu(device) {
        return work();
    }
    report(job, work)
}

fn report<T>(job: Job<'_>, work: impl FnOnce() -> T) -> T {
    const LOOK_EVERY: Duration = Duration::from_millis(200);
    /// What takes no longer than this needs no explanation.
    const SHORT: Duration = Duration::from_secs(5);

    let before = COMPILED.load(Ordering::Relaxed);
    job.phase("preparing this GPU's kernels", None, "kernels");
    let (done, working) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let began = Instant::now();
            while working.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                job.progress(COMPILED.load(Ordering::Relaxed) - before);
                if began.elapsed() > SHORT && !EXPLAINED.swap(true, Ordering::Relaxed) {
                    job.info("kernels are compiled for this GPU; that can take a minute at first");
                }
            }
        });
        // The sender goes with the closure, also when `work` panics, and its end is what the thread
        // waits for.
        let _done = done;
        work()
    })
}

/// Tells the GPU's library where to keep what it compiled or found out, and has it name what it
/// compiles, to be counted. To be called before a GPU is opened; only the first call does
/// something.
#[cfg(feature = "gpu")]
pub(super) fn prepare() {
    use cubecl::config::cache::CacheConfig;
    use cubecl::config::compilation::CompilationLogLevel;
    use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

    // Never the current folder, which is whatever a person happened to be in, nor the library's
    // configuration file there.
    let mut config = CubeClRuntimeConfig::default().override_from_env();
    let folder = crate::files::cache_folder()
        .unwrap_or_else(|| std::env::temp_dir().join("counterweight"))
        .join("kernels");
    config.environment.path = CacheConfig::Directory(folder);
    #[cfg(feature = "cuda")]
    {
        config.compilation.cache = true;
    }
    if matches!(config.compilation.logger.level, CompilationLogLevel::Disabled) {
        config.compilation.logger.level = CompilationLogLevel::Basic;
    }
    // To the program's log, which [`note_log`] sees.
    config.compilation.logger.log = Some(Default::default());
    // Only the first configuration counts, and one that was set before is as good.
    CubeClRuntimeConfig::try_set(config);
}

#[cfg(not(feature = "gpu"))]
pub(super) fn prepare() {}

/// To be told the target of every record that a program's log is given, at least of the level
/// `info`: records of kernels that were compiled are counted, so that [`while_preparing`] can say
/// how many there are. Returns whether it was one of those, which need not be written anywhere.
pub fn note_log(target: &str) -> bool {
    let compiled = target == "cubecl::compilation";
    if compiled {
        COMPILED.fetch_add(1, Ordering::Relaxed);
    }
    compiled
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::job::{Control, Event};

    #[test]
    fn kernels_are_counted_while_they_are_compiled_and_the_cpu_has_none_to_compile() {
        let events = Mutex::new(Vec::new());
        let sink = |event: Event| events.lock().unwrap().push(event);
        let control = Control::new();
        let job = Job::new(&control, &sink);
        assert_eq!(while_preparing(&Device::flex(), job, || 3), 3);
        assert!(events.lock().unwrap().is_empty());

        let is_counted = |event: &Event| matches!(event, Event::Progress { done } if *done >= 7);
        report(job, || {
            COMPILED.fetch_add(7, Ordering::Relaxed);
            let began = std::time::Instant::now();
            while !events.lock().unwrap().iter().any(is_counted) {
                assert!(began.elapsed() < Duration::from_secs(60));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let events = events.into_inner().unwrap();
        assert!(
            matches!(&events[0], Event::Phase { total: None, unit: "kernels", .. }),
            "{events:?}"
        );
    }

    #[test]
    fn a_panic_in_the_work_is_passed_on_and_not_waited_for() {
        let (control, sink) = (Control::new(), crate::job::Silent);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            crate::panics::caught::<()>(|| {
                report(Job::new(&control, &sink), || panic!("a driver's bug"))
            })
        }));
        assert_eq!(outcome.unwrap(), Err("a driver's bug".into()));
    }
}
