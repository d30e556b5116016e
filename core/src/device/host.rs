//! Numbers from a device to the host.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use burn::tensor::{Device, Tensor, Transaction};

use super::failure::Failure;
use crate::ops;
use crate::panics::{driver_said, lost_gpu};

/// A tensor's values on the host.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Failure> {
    let data = wait_for(tensor.into_data_async(), lost_gpu)?
        .map_err(|error| Failure::from(error.to_string()))?;
    // What failed on the way here, such as a kernel that was only tried out, did no harm.
    driver_said();
    data.try_into_vec_as::<f32>()
        .map_err(|error| Failure::from(format!("the device returned no numbers: {error}")))
}

/// The values of many tensors on the host, waiting for the device once.
pub(crate) fn host_all<const D: usize>(tensors: Vec<Tensor<D>>) -> Result<Vec<Vec<f32>>, Failure> {
    if tensors.is_empty() {
        return Ok(Vec::new());
    }
    let all = tensors.into_iter().fold(Transaction::default(), |all, tensor| all.register(tensor));
    let all = wait_for(all.execute_async(), lost_gpu)?
        .map_err(|error| Failure::from(error.to_string()))?;
    driver_said();
    let numbers = all.into_iter().map(|data| data.try_into_vec_as::<f32>());
    numbers
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::from(format!("the device returned no numbers: {error}")))
}

/// Waits until a GPU has done all that it was asked to: a number that is made after that is read. The
/// CPU does what it is asked to at once.
pub(crate) fn finish_work(device: &Device) -> Result<(), Failure> {
    if ops::is_cpu(device) {
        return Ok(());
    }
    host(Tensor::<1>::zeros([1], &device.clone().without_autodiff()) + 1.0).map(drop)
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What comes of a future. Where a driver is reset, nobody wakes what waits for it: that is looked
/// at from time to time.
fn wait_for<T>(future: impl Future<Output = T>, is_lost: impl Fn() -> bool) -> Result<T, Failure> {
    const LOOK_EVERY: Duration = Duration::from_millis(500);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => return Ok(outcome),
            Poll::Pending if is_lost() => return Err(Failure::lost(driver_said())),
            Poll::Pending => thread::park_timeout(LOOK_EVERY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_is_gone_is_not_waited_for() {
        let failure = wait_for(std::future::pending::<()>(), || true).unwrap_err();
        let Failure::Broken(reason) = failure else { panic!("{failure:?}") };
        assert!(reason.contains("start the program again"), "{reason}");
        assert_eq!(wait_for(std::future::ready(3), || true), Ok(3));
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
        assert_eq!(wait_for(future, || false), Ok(2));
    }
}
