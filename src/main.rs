//! One binary, a subcommand a process. See `src/cli.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    codash::cli::main()
}
