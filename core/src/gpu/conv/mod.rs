//! Convolutions as products of matrices whose entries are gathered from images.

mod gather;
pub mod matrix;
mod pack;
mod places;
mod weight_gradient;

pub use gather::{Epilogue, convolve, convolve_over, input_gradient};
pub use pack::{Layout, Packed, Weight, pack, pack_all, pack_one};
pub use weight_gradient::weight_gradient;
