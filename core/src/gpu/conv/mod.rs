//! Convolutions as products of matrices whose entries are gathered from images.

mod gather;
pub mod matrix;
mod pack;
mod places;
mod weight_gradient;

pub use gather::{Epilogue, convolve, input_gradient};
pub use pack::{Layout, Packed, Weight, pack, pack_all, pack_one};
pub use places::{Target, TargetLaunch, at_tap, first_tap};
pub use weight_gradient::{add_parts, weight_gradient};
