//! What the nodes before a node hand on to it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{NodeId, NodeState};

/// Most bytes of results that one node is given in all; beyond that the later ones are left out.
pub const INPUTS_BYTES_MAX: usize = 1024 * 1024;

/// How a node before this one ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInput {
    /// Which node.
    pub node: NodeId,
    /// How it ended.
    pub state: NodeState,
    /// What its handler returned, at most [`crate::RESULT_BYTES_MAX`] bytes.
    pub result: Option<Bytes>,
    /// Whether there was a result that is left out, since the results of the workflow or of the nodes before this one
    /// are too large.
    pub is_omitted: bool,
    /// Why it failed.
    pub error: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireInput<'a> {
    node: u32,
    #[serde(borrow)]
    state: &'a str,
    #[serde(with = "serde_bytes", borrow)]
    result: Option<&'a [u8]>,
    is_omitted: bool,
    #[serde(borrow)]
    error: Option<&'a str>,
}

/// The inputs as bytes: a MessagePack array of arrays.
pub(crate) fn encode(inputs: &[NodeInput]) -> Bytes {
    let wire: Vec<WireInput<'_>> = inputs.iter().map(WireInput::from).collect();
    // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
    rmp_serde::to_vec(&wire).unwrap_or_default().into()
}

impl<'a> From<&'a NodeInput> for WireInput<'a> {
    fn from(input: &'a NodeInput) -> Self {
        Self {
            node: input.node.number(),
            state: input.state.name(),
            result: input.result.as_deref(),
            is_omitted: input.is_omitted,
            error: input.error.as_deref(),
        }
    }
}

/// The inputs in these bytes; none in none.
///
/// # Errors
/// Says what is wrong.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<NodeInput>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let wire: Vec<WireInput<'_>> = rmp_serde::from_slice(bytes).map_err(|error| format!("inputs of a job: {error}"))?;
    let input = |wire: WireInput<'_>| {
        Ok(NodeInput {
            node: NodeId::new(wire.node),
            state: NodeState::from_name(wire.state).ok_or_else(|| format!("`{}` is no state of a node", wire.state))?,
            result: wire.result.map(Bytes::copy_from_slice),
            is_omitted: wire.is_omitted,
            error: wire.error.map(ToOwned::to_owned),
        })
    };
    wire.into_iter().map(input).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn inputs_survive_their_bytes(inputs in proptest::collection::vec((any::<u32>(), 0usize..6, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)), any::<bool>(), proptest::option::of(".{0,20}")), 0..10)) {
            let states = ["waiting", "ready", "completed", "cancelled", "discarded", "skipped"];
            let input = |(node, state, result, is_omitted, error): (u32, usize, Option<Vec<u8>>, bool, Option<String>)| NodeInput {
                node: NodeId::new(node),
                state: NodeState::from_name(states[state]).unwrap(),
                result: result.map(Bytes::from),
                is_omitted,
                error,
            };
            let inputs: Vec<NodeInput> = inputs.into_iter().map(input).collect();
            prop_assert_eq!(decode(&encode(&inputs)), Ok(inputs));
        }

        #[test]
        fn no_bytes_make_the_reader_of_inputs_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _outcome = decode(&bytes);
        }
    }
}
