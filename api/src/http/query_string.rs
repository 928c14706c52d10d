//! The query string of a request, as OpenTSDB reads it.

use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// The parameters of a request in the order in which they came, percent-decoded.
///
/// Flags are *presence* flags: `?summary`, `?summary=` and even `?summary=false` switch it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryString(Vec<(String, String)>);

/// Parameters that one request may have.
const PARAMETERS_MAX: usize = 1_000;

impl QueryString {
    /// Decodes a query string.
    ///
    /// # Errors
    /// 400 when a parameter is no UTF-8, or when there are more than 1000 parameters.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        if pairs.clone().count() > PARAMETERS_MAX {
            return Err(ApiError::bad_request(format!("more than {PARAMETERS_MAX} parameters in the query string")));
        }
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a parameter is there, whatever its value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(candidate, _)| candidate == name)
    }

    /// Whether a switch of ours that may be on by default is on: unlike a flag, `=false` and `=0` switch it off. `None` when
    /// the parameter is not there.
    #[must_use]
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    /// The last value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there and not be empty.
    ///
    /// # Errors
    /// 400 with OpenTSDB's text.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| ApiError::bad_request(format!("Missing parameter <code>{name}</code>")))
    }

    /// A parameter that is a number.
    ///
    /// # Errors
    /// 400 when it is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                let shown: String = text.chars().take(64).collect();
                ApiError::bad_request(format!("Unable to convert '{name}' to a valid number"))
                    .details(format!("received '{shown}'"))
            }),
        }
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| {
        ApiError::bad_request(format!("parameter `{}` is no UTF-8", text.chars().take(64).collect::<String>()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_about_presence() {
        for text in ["summary", "summary=", "summary=false", "a=1&summary"] {
            assert!(QueryString::parse(text).unwrap().has("summary"), "{text}");
        }
        assert!(!QueryString::parse("summar=y").unwrap().has("summary"));
    }

    #[test]
    fn a_switch_can_be_switched_off() {
        let switch = |text: &str| QueryString::parse(text).unwrap().switch("align_first");
        assert_eq!((switch("align_first"), switch("align_first=true")), (Some(true), Some(true)));
        assert_eq!((switch("align_first=False"), switch("align_first&align_first=0")), (Some(false), Some(false)));
        assert_eq!(switch("m=align_first"), None);
    }

    #[test]
    fn values_are_decoded() {
        let query = QueryString::parse("m=sum%3Aa%7Bh%3D*%7D&m=b&start=2013/01/01+00:00").unwrap();
        assert_eq!(query.all("m").collect::<Vec<_>>(), ["sum:a{h=*}", "b"]);
        assert_eq!(query.get("start"), Some("2013/01/01 00:00"));
        assert_eq!(query.required("end").unwrap_err().message(), "Missing parameter <code>end</code>");
        assert!(QueryString::parse("a=%ff").is_err());
    }
}
