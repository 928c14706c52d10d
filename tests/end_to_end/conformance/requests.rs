//! Sending what a case says.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use flate2::{Compression, write::GzEncoder};
use regex::{Captures as Matches, Regex};
use serde_json::Value;
use tidemark_tests::{Client, Response};

/// Values taken out of earlier answers of a sequence.
#[derive(Debug, Default)]
pub(super) struct Captures(BTreeMap<String, String>);

impl Captures {
    /// Takes what the step asks for out of its answer: paths such as `$.results[0].tsuid`.
    pub(super) fn take(&mut self, step: &Value, answer: &Response) {
        for (name, path) in step.get("capture").and_then(Value::as_object).into_iter().flatten() {
            let pointer = path.as_str().unwrap().trim_start_matches('$').replace(['.', '['], "/").replace(']', "");
            let document = answer.json();
            let value = document.pointer(&pointer).unwrap_or_else(|| panic!("no {path} in {}", answer.text()));
            self.0.insert(name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
    }
}

/// One clock for all cases, so that points and queries of a case agree.
static NOW_S: LazyLock<i64> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs().try_into().unwrap()
});

static NOW: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$NOW([+-]\d+)?").unwrap());

/// The document with `$NOW-120` and `{captured}` filled in; a text that is nothing but a time becomes a number.
pub(super) fn fill_in(document: &Value, captures: &Captures) -> Value {
    match document {
        Value::String(text) => fill_in_text(text, captures),
        Value::Array(items) => items.iter().map(|item| fill_in(item, captures)).collect(),
        Value::Object(entries) => {
            let filled = |key: &str| fill_in_text(key, captures).as_str().unwrap_or(key).to_owned();
            entries.iter().map(|(key, value)| (filled(key), fill_in(value, captures))).collect()
        }
        other => other.clone(),
    }
}

fn fill_in_text(text: &str, captures: &Captures) -> Value {
    let time = |matches: &Matches<'_>| *NOW_S + matches.get(1).map_or(0, |offset| offset.as_str().parse().unwrap());
    if let Some(matches) = NOW.captures(text).filter(|matches| matches.len() > 0 && &matches[0] == text) {
        return time(&matches).into();
    }
    let mut filled = NOW.replace_all(text, |matches: &Matches<'_>| time(matches).to_string()).into_owned();
    for (name, value) in &captures.0 {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    filled.into()
}

/// Sends a request and returns the answer; of telnet commands, all that came back until the server was silent.
pub(super) fn send(client: &Client, request: &Value, captures: &Captures) -> Response {
    let request = fill_in(request, captures);
    let method = request["method"].as_str().unwrap();
    if method == "TELNET" {
        return telnet(client, request["lines"].as_array().unwrap());
    }
    let mut body = match &request["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        document => document.to_string().into_bytes(),
    };
    let mut headers = vec![("Content-Type", "application/json")];
    if request["gzip"] == true {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&body).unwrap();
        body = encoder.finish().unwrap();
        headers.push(("Content-Encoding", "gzip"));
    }
    if request["chunked"] == true {
        body = in_chunks(&body);
        headers.push(("Transfer-Encoding", "chunked"));
    }
    client.request(method, request["path"].as_str().unwrap(), &headers, &body).unwrap()
}

fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut chunked = Vec::new();
    for chunk in body.chunks((body.len() / 3).max(1)) {
        write!(chunked, "{:x}\r\n", chunk.len()).unwrap();
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    chunked
}

fn telnet(client: &Client, lines: &[Value]) -> Response {
    let mut stream = TcpStream::connect(client.address()).unwrap();
    for line in lines {
        writeln!(stream, "{}", line.as_str().unwrap()).unwrap();
    }
    stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    let (mut body, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(bytes) = stream.read(&mut buffer) {
        if bytes == 0 {
            break;
        }
        body.extend_from_slice(&buffer[..bytes]);
    }
    Response { status: 200, headers: Vec::new(), body }
}
