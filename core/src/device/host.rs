//! Numbers from a device to the host.

use burn::tensor::{Device, Tensor, Transaction};

use super::failure::Failure;
use crate::ops;
use crate::panics::driver_said;
use crate::waiting::wait_for;

/// A tensor's values on the host.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Failure> {
    let is_cpu = ops::is_cpu(&tensor.device());
    let data = wait_for(tensor.into_data_async())
        .map_err(Failure::from)?
        .map_err(|error| Failure::from(error.to_string()))?;
    forgive(is_cpu);
    data.try_into_vec_as::<f32>()
        .map_err(|error| Failure::from(format!("the device returned no numbers: {error}")))
}

/// The values of many tensors on the host, waiting for the device once.
pub(crate) fn host_all<const D: usize>(tensors: Vec<Tensor<D>>) -> Result<Vec<Vec<f32>>, Failure> {
    if tensors.is_empty() {
        return Ok(Vec::new());
    }
    let is_cpu = ops::is_cpu(&tensors[0].device());
    let all = tensors.into_iter().fold(Transaction::default(), |all, tensor| all.register(tensor));
    let all = wait_for(all.execute_async())
        .map_err(Failure::from)?
        .map_err(|error| Failure::from(error.to_string()))?;
    forgive(is_cpu);
    let numbers = all.into_iter().map(|data| data.try_into_vec_as::<f32>());
    numbers
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::from(format!("the device returned no numbers: {error}")))
}

/// Forgets what failed on the way to numbers that came, such as a kernel that was only tried out: it
/// did no harm. Numbers of the CPU say nothing about what a GPU does for another thread.
fn forgive(is_cpu: bool) {
    if !is_cpu {
        driver_said();
    }
}

/// Waits until a GPU has done all that it was asked to: a number that is made after that is read. The
/// CPU does what it is asked to at once.
pub(crate) fn finish_work(device: &Device) -> Result<(), Failure> {
    if ops::is_cpu(device) {
        return Ok(());
    }
    host(Tensor::<1>::zeros([1], &device.clone().without_autodiff()) + 1.0).map(drop)
}
