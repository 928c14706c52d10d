//! URLs as errors and logs may show them.

/// A URL without user, password and query. Works on texts that are no sound URL, too: those are what errors are about.
/// Shows rather too little than too much, so what stands before the last `@` is never shown, wherever that is.
pub(crate) fn masked(url: &str) -> String {
    let without_login = without_login(url);
    match without_login.split_once('?') {
        Some((before, _)) => format!("{before}?…"),
        None => without_login,
    }
}

fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    match rest.rsplit_once('@') {
        Some((_, address)) if scheme.is_empty() || scheme.contains('@') => format!("***@{address}"),
        Some((_, address)) => format!("{scheme}://***@{address}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn no_password_is_shown() {
        assert_eq!(masked("rediss://:pw@h"), "rediss://***@h");
        assert_eq!(masked("redis://me:p/w@d@h:1/2"), "redis://***@h:1/2");
        assert_eq!(masked("me:pw@h"), "***@h");
        assert_eq!(masked("a@b://pw@h"), "***@h");
        assert_eq!(masked("http://h:1/x"), "http://h:1/x");
        assert_eq!(masked("amqp"), "amqp");
        assert_eq!(masked("unix:/run/x.sock?pass=pw"), "unix:/run/x.sock?…");
        assert_eq!(masked("redis://me:p?w@h/1"), "redis://***@h/1");
    }
}
