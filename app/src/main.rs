//! `counterweight`: without a subcommand the window, with one the command line.

use std::process::ExitCode;

use counterweight_core::huge_pages::HugePages;

#[global_allocator]
static ALLOCATOR: HugePages = HugePages;

fn main() -> ExitCode {
    counterweight_app::cli::run()
}
