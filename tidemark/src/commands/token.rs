//! `tidemark token`.

use std::process::ExitCode;

use anyhow::Context;

use super::print;
use crate::cli::TokenCommand;

/// Makes a token: `tdm_<kind>_<random>_<check>`, shown once; the server keeps its hash.
pub(crate) fn run(command: &TokenCommand) -> anyhow::Result<ExitCode> {
    let TokenCommand::Create { name, roles } = command;
    let kinds: Vec<_> = roles.iter().map(|role| role.parse()).collect::<Result<_, _>>()?;
    let token = tidemark_api::auth::Token::generate(&kinds).context("read random bytes from the system")?;
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
