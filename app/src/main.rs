//! `counterweight`: the command line over `counterweight-core`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
