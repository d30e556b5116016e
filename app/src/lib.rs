//! The two fronts over `counterweight-core`: the command line and the window.

pub mod cli;
pub mod gui;
pub mod logging;
