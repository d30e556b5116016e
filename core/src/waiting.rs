//! Waiting for what a device computes, without waiting for ever.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::panics::{driver_said, lost_gpu};

/// A GPU that is gone for this process, with what its library said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost(pub Option<String>);

impl Lost {
    /// How it is said.
    pub const WORDS: &str = "it was lost, as when its driver is reset or the machine sleeps";
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.0.as_deref().map(in_one_line);
        let why = said.map_or(String::new(), |said| format!(" ({said})"));
        write!(f, "{}{why}; start the program again to use it", Self::WORDS)
    }
}

/// The lines of a text, one after the other.
pub(crate) fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What comes of a future.
///
/// # Errors
/// [`Lost`] where a GPU of this process was lost and nothing came for half a minute: nobody wakes
/// what waits for that one, and another that is well takes no longer.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> Result<T, Lost> {
    const PATIENCE: Duration = Duration::from_secs(30);
    wait_while(future, lost_gpu, PATIENCE)
}

fn wait_while<T>(
    future: impl Future<Output = T>,
    is_lost: impl Fn() -> bool,
    patience: Duration,
) -> Result<T, Lost> {
    const LOOK_EVERY: Duration = Duration::from_millis(500);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let began = Instant::now();
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => return Ok(outcome),
            Poll::Pending if is_lost() && began.elapsed() >= patience => {
                return Err(Lost(driver_said()));
            }
            Poll::Pending => thread::park_timeout(LOOK_EVERY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_is_gone_is_not_waited_for() {
        let never = || std::future::pending::<()>();
        let lost = wait_while(never(), || true, Duration::ZERO).unwrap_err();
        assert!(lost.to_string().contains("start the program again"), "{lost}");
        assert_eq!(wait_while(std::future::ready(3), || true, Duration::ZERO), Ok(3));
    }

    #[test]
    fn what_is_done_by_another_thread_is_waited_for() {
        let mut asked = 0;
        let future = std::future::poll_fn(|context| {
            asked += 1;
            if asked > 1 {
                return Poll::Ready(asked);
            }
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        });
        assert_eq!(wait_while(future, || false, Duration::ZERO), Ok(2));
    }
}
