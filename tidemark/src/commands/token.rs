//! `tidemark token`.

use std::process::ExitCode;

use anyhow::Context;
use tidemark_api::auth::{Role, Token};

use super::print;
use crate::{cli::TokenCommand, usage::UsageError};

/// Makes a token: `tdm_<kind>_<random>_<check>`, shown once; the server keeps its hash.
pub(crate) fn run(command: &TokenCommand) -> anyhow::Result<ExitCode> {
    let TokenCommand::Create { name, roles } = command;
    let kinds: Result<Vec<Role>, _> = roles.iter().map(|role| role.parse()).collect();
    let kinds = kinds.map_err(|error| UsageError(format!("option --role: {error}")))?;
    let token = Token::generate(&kinds).context("read random bytes from the system")?;
    let quoted: Vec<_> = roles.iter().map(|role| format!("\"{role}\"")).collect();
    print::out(&format!(
        "token: {}\n\nIt is shown this once. Let it in by adding to tidemark.toml:\n\n[[auth.tokens]]\nname = {}\n\
         sha256 = \"{}\"\nroles = [{}]\n",
        token.text(),
        serde_json::json!(name),
        token.hash(),
        quoted.join(", ")
    ))?;
    Ok(ExitCode::SUCCESS)
}
