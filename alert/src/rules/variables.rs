//! `$name` in expressions: pure text substitution, as in Bosun.

use std::collections::BTreeMap;

/// Variables by name, without the `$`.
pub type Variables = BTreeMap<String, String>;

/// How often the text of a variable may contain another variable.
const DEPTH_MAX: usize = 16;

/// Puts the texts of variables in place of `$name` and `${name}`; texts may name further variables.
///
/// # Errors
/// An unknown variable, variables in a circle, or more than `bytes_max` bytes.
pub(crate) fn expand(text: &str, variables: &Variables, bytes_max: usize) -> Result<String, String> {
    let mut expanded = String::new();
    expand_into(text, variables, bytes_max, 0, &mut expanded)?;
    Ok(expanded)
}

fn expand_into(
    text: &str,
    variables: &Variables,
    bytes_max: usize,
    depth: usize,
    out: &mut String,
) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("variables within variables go deeper than {DEPTH_MAX} levels; is there a circle?"));
    }
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        push(out, before, bytes_max)?;
        let (name, after) = name_of(after)?;
        let value = variables.get(name).ok_or_else(|| format!("unknown variable `${name}`"))?;
        expand_into(value, variables, bytes_max, depth + 1, out)?;
        rest = after;
    }
    push(out, rest, bytes_max)
}

fn push(out: &mut String, text: &str, bytes_max: usize) -> Result<(), String> {
    if out.len() + text.len() > bytes_max {
        return Err(format!("with its variables filled in, the text has more than {bytes_max} bytes"));
    }
    out.push_str(text);
    Ok(())
}

/// The name right after a `$`, and what follows.
fn name_of(after: &str) -> Result<(&str, &str), String> {
    if let Some(inside) = after.strip_prefix('{') {
        return inside.split_once('}').ok_or_else(|| "`${` without `}`".to_owned());
    }
    let end = after.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(after.len());
    match after.split_at_checked(end) {
        Some((name, rest)) if !name.is_empty() => Ok((name, rest)),
        _ => Err("`$` without a name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn variables_are_replaced_by_their_texts() {
        let variables = variables(&[("q", "avg($query)"), ("query", "q(\"m\")"), ("n", "5")]);
        assert_eq!(expand("$q > ${n}0", &variables, 100), Ok("avg(q(\"m\")) > 50".to_owned()));
    }

    #[test]
    fn what_cannot_be_replaced_is_an_error() {
        let variables =
            variables(&[("a", "$b"), ("b", "$a"), ("d0", "x"), ("d1", "$d0$d0$d0$d0"), ("d2", "$d1$d1$d1$d1")]);
        let check = |text: &str, expect: &str| assert_eq!(expand(text, &variables, 10).unwrap_err(), expect);
        check("$a", "variables within variables go deeper than 16 levels; is there a circle?");
        check("$d2", "with its variables filled in, the text has more than 10 bytes");
        check("$nosuch", "unknown variable `$nosuch`");
        check("5$", "`$` without a name");
        check("${a", "`${` without `}`");
    }
}
