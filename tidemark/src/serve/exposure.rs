//! Nobody listens to the world without knowing it.

use anyhow::{Context, bail};
use tidemark_api::auth::{KnownToken, Network, Tokens};

use crate::config::{AuthSettings, Settings};

/// The tokens that are let in.
pub(crate) fn tokens(auth: &AuthSettings) -> anyhow::Result<Tokens> {
    let mut tokens = Tokens::default();
    for token in &auth.tokens {
        let context = || format!("setting auth.tokens, token `{}`", token.name);
        if token.roles.is_empty() {
            bail!("{}: has no role; the roles are write, read, operate and admin", context());
        }
        let roles = token.roles.iter().map(|role| role.parse()).collect::<Result<_, _>>().with_context(context)?;
        tokens.insert(&token.sha256, KnownToken { name: token.name.clone(), roles }).with_context(context)?;
    }
    Ok(tokens)
}

/// The networks that a setting names.
///
/// # Errors
/// Names the setting and what is no network.
pub(crate) fn networks(name: &str, texts: &[String]) -> anyhow::Result<Vec<Network>> {
    texts.iter().map(|network| network.parse().with_context(|| format!("setting {name}"))).collect()
}

/// Refuses to listen where others can reach us as long as anybody would be let in.
pub(crate) fn check(settings: &Settings) -> anyhow::Result<()> {
    if settings.listen.ip().is_loopback() || !settings.auth.tokens.is_empty() {
        return Ok(());
    }
    bail!(
        "refusing to listen on {}: others could reach it and nobody would be asked for a token. Make one with \
         `tidemark token create --name me --role admin` and add the entry that it prints to tidemark.toml, or listen \
         on 127.0.0.1 and let a proxy decide who comes in",
        settings.listen
    )
}
