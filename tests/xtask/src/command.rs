//! Child processes.

use std::{path::Path, process::Command};

use anyhow::{Context, bail};

/// Runs a program in `folder`, shows the line, and fails when the program does.
pub(crate) fn run(folder: &Path, line: &[&str]) -> anyhow::Result<()> {
    run_with(folder, line, &[])
}

/// As [`run`], with variables added to the environment.
pub(crate) fn run_with(folder: &Path, line: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<()> {
    eprintln!("\n$ {}", line.join(" "));
    let status = command(folder, line)?.envs(variables.iter().copied()).status();
    let status = status.with_context(|| format!("start `{}`", line.join(" ")))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line.join(" "));
    }
    Ok(())
}

/// The standard output of a program that must succeed.
pub(crate) fn output(folder: &Path, line: &[&str]) -> anyhow::Result<String> {
    let output = command(folder, line)?.output().with_context(|| format!("start `{}`", line.join(" ")))?;
    if !output.status.success() {
        bail!("`{}` ended with {}: {}", line.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be started.
pub(crate) fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn command(folder: &Path, line: &[&str]) -> anyhow::Result<Command> {
    let (program, arguments) = line.split_first().context("an empty command line")?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    Ok(command)
}
