//! Payloads of long work: data in, data out, a rule over the past.

use serde::{Deserialize, Serialize};

use super::{Payload, TimeWindow};
use crate::JobKind;

/// Write the points of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportPayload {
    /// Name of a file that was uploaded.
    pub file: String,
    /// Form of its lines; `None` for what the first line looks like.
    pub format: Option<String>,
}

/// Write points into a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPayload {
    /// Series, such as `os.cpu{host=web*}`; all when there is none.
    pub series: Vec<String>,
    /// Of when.
    pub window: TimeWindow,
    /// Form of the lines.
    pub format: String,
}

/// Evaluate a rule at many moments of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacktestPayload {
    /// Name of the rule; with a text, of the one in it.
    pub rule: Option<String>,
    /// A text of the form of a rule file, whose rule is tried in the place of one that is in force.
    pub text: Option<String>,
    /// The evaluations are at its first moment and then as often as the rule says.
    pub window: TimeWindow,
    /// How often to evaluate in its place, in milliseconds.
    pub every_ms: Option<u64>,
}

impl Payload for ImportPayload {
    const KIND: JobKind = JobKind::Import;
    const VERSION: u16 = 1;
}

impl Payload for ExportPayload {
    const KIND: JobKind = JobKind::Export;
    const VERSION: u16 = 1;
}

impl Payload for BacktestPayload {
    const KIND: JobKind = JobKind::Backtest;
    const VERSION: u16 = 1;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn payloads_survive_their_bytes(
            text in ".{0,40}",
            more in proptest::option::of(".{0,40}"),
            series in proptest::collection::vec(".{0,20}", 0..4),
            every_ms in proptest::option::of(any::<u64>()),
        ) {
            let window = TimeWindow { from: more.clone(), to: Some(text.clone()) };
            let import = ImportPayload { file: text.clone(), format: more.clone() };
            prop_assert_eq!(ImportPayload::decode(&import.encode().unwrap()).unwrap(), import);
            let export = ExportPayload { series, window: window.clone(), format: text };
            prop_assert_eq!(ExportPayload::decode(&export.encode().unwrap()).unwrap(), export);
            let backtest = BacktestPayload { rule: more.clone(), text: more, window, every_ms };
            prop_assert_eq!(BacktestPayload::decode(&backtest.encode().unwrap()).unwrap(), backtest);
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = ImportPayload::decode(&bytes);
            let _outcome = ExportPayload::decode(&bytes);
            let _outcome = BacktestPayload::decode(&bytes);
        }
    }
}
