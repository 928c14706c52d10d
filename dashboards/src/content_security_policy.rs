//! What a page may load and run.

/// The value of the `Content-Security-Policy` header of a page whose [`crate::PageContext::nonce`] is `nonce`.
///
/// Everything comes from our own origin; of inline scripts only those with the nonce run (the theme, the import map);
/// inline style attributes are refused, which is why bars and graphs are SVG with attributes and classes.
#[must_use]
pub fn content_security_policy(nonce: &str) -> String {
    format!(
        "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_nonce_and_allows_nothing_inline() {
        let policy = content_security_policy("abc123");
        assert!(policy.contains("script-src 'self' 'nonce-abc123';"));
        assert!(!policy.contains("unsafe"));
        assert!(!policy.contains('\n'));
    }
}
