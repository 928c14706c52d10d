//! Names for results: `cpu of @host`.

/// Puts the values of tags where a template has `@key`. Of several keys that fit, the longest is meant; an `@` that is
/// followed by no key stays.
pub(super) fn fill_in(template: &str, tags: &[(String, String)]) -> String {
    let mut name = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('@') {
        name.push_str(before);
        let fitting = tags.iter().filter(|(key, _)| after.starts_with(key.as_str()));
        match fitting.max_by_key(|(key, _)| key.len()) {
            Some((key, value)) => {
                name.push_str(value);
                rest = after.get(key.len()..).unwrap_or_default();
            }
            None => {
                name.push('@');
                rest = after;
            }
        }
    }
    name.push_str(rest);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_key_that_fits_is_meant() {
        let tags = [("host", "web01"), ("hostname", "@dc"), ("dc", "lga")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let check = |template: &str, expect: &str| assert_eq!(fill_in(template, &tags), expect);
        check("cpu_@host", "cpu_web01");
        check("@host.@dc", "web01.lga");
        check("@hostname!", "@dc!");
        check("@rack @", "@rack @");
        check("plain", "plain");
    }
}
