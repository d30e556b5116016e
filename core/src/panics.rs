//! The last defence against code that is not ours: turning its panics into errors. A program that
//! calls [`install_hook`] has nothing printed of them.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

thread_local! {
    /// How many calls of [`caught`] this thread is in. Other threads' panics are not its business
    /// and are reported as ever.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// What a thread of the GPU's library panicked with last.
static OF_DRIVER: Mutex<Option<String>> = Mutex::new(None);

/// Whether the thread that waits for a GPU has ended: what it was to wake sleeps for ever.
static LOST: AtomicBool = AtomicBool::new(false);

/// How panics begin that end that thread: wgpu's words where a driver was reset or a device is gone.
const LOSES: [&str; 2] = ["Error in Device::poll", "Error in Instance::poll_all_devices"];

/// Runs what may panic inside a driver or a parser and turns a panic into its message.
///
/// # Errors
/// What `work` returns, or the panic's message.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    RUNNING.set(RUNNING.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    RUNNING.set(RUNNING.get() - 1);
    outcome.unwrap_or_else(|panic| Err(message(panic.as_ref())))
}

/// Takes what a thread of the GPU's library panicked with since this was last asked. What waited
/// for it fails afterwards, and knows less.
pub(crate) fn driver_said() -> Option<String> {
    OF_DRIVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
}

/// Whether a panic of these words ends the thread that waits for a GPU.
pub(crate) fn ends_waiting(text: &str) -> bool {
    LOSES.iter().any(|words| text.starts_with(words))
}

/// Whether a GPU was lost in this process, so that waiting for it would not end.
pub(crate) fn lost_gpu() -> bool {
    LOST.load(Ordering::Acquire)
}

/// Whether this is a thread of the GPU's library, one a device. It catches its panics itself and
/// fails what waits for it, so they need not be reported where they happen.
fn is_of_driver() -> bool {
    std::thread::current()
        .name()
        .is_some_and(|name| name.starts_with("DSU-") || name.starts_with("DSD-"))
}

/// Has panics that become errors print nothing, and keeps what a GPU's library panicked with for
/// the error that follows. For programs to call once, at their start; this crate never does, since
/// the hook is the whole program's. Without it such panics are reported as any other, and errors of
/// GPUs know less.
pub fn install_hook() {
    static INSTALLED: Once = Once::new();
    // Taking the hook out and putting it back around each call would be a race between threads.
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = message(info.payload());
            let loses = ends_waiting(&text);
            if is_of_driver() || loses {
                *OF_DRIVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(text);
                if loses {
                    LOST.store(true, Ordering::Release);
                }
            } else if RUNNING.get() == 0 {
                previous(info);
            }
        }));
    });
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
    text.unwrap_or_else(|| "it failed without a message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_their_message() {
        assert_eq!(caught(|| Ok(3)), Ok(3));
        assert_eq!(caught::<()>(|| Err("plain".into())), Err("plain".into()));
        let empty: Vec<u8> = Vec::new();
        assert!(
            caught(|| Ok(empty[usize::from(empty.is_empty())]))
                .unwrap_err()
                .contains("out of bounds")
        );
    }

    #[test]
    fn what_a_drivers_thread_panicked_with_is_known_once() {
        install_hook();
        let said = || {
            let waited = caught::<()>(|| {
                let driver = std::thread::Builder::new()
                    .name("DSD-0-0".into())
                    .spawn(|| panic!("no adapter found"))
                    .unwrap();
                driver.join().map_err(|_| "the channel is closed".to_string())
            });
            assert_eq!(waited, Err("the channel is closed".into()));
            driver_said().is_some_and(|words| words == "no adapter found")
        };
        // Tests that use a GPU ask for such words, too, and may be the ones to get them.
        assert!((0..100).any(|_| said()));
        assert_ne!(driver_said(), Some("no adapter found".into()));
    }
}
