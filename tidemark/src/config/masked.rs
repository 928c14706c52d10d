//! URLs as errors and logs may show them.

use tidemark_api::without_password;

/// A URL without user, password and query. Works on texts that are no sound URL, too: those are what errors are about.
pub(crate) fn masked(url: &str) -> String {
    let without_password = without_password(url);
    match without_password.split_once('?') {
        Some((before, _)) => format!("{before}?…"),
        None => without_password,
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
