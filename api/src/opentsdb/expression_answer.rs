//! Writes the answer of `/api/query/exp` by hand: one table for each output.

use serde_json::{Map, Value, json};
use tidemark_query::{Fill, expression::OutputTable};

use super::query_answer::{AnswerSink, Gone, Numbers, integer, string};

/// Rows after which the sink is offered what there is, when they have one value.
const VALUES_A_PIECE: usize = 4096;

/// Writes the outputs, and the request after them.
#[derive(Debug)]
pub(crate) struct TableWriter {
    out: Vec<u8>,
    outputs: usize,
}

impl TableWriter {
    pub(crate) fn new() -> Self {
        Self { out: br#"{"outputs":["#.to_vec(), outputs: 0 }
    }

    pub(crate) fn table(&mut self, table: &OutputTable<'_>, sink: &mut impl AnswerSink) -> Result<(), Gone> {
        if self.outputs > 0 {
            self.out.push(b',');
        }
        self.outputs += 1;
        self.text(r#"{"id":"#);
        string(&mut self.out, table.id);
        if let Some(alias) = table.alias {
            self.text(r#","alias":"#);
            string(&mut self.out, alias);
        }
        self.text(r#","dps":["#);
        self.rows(table, sink)?;
        self.text("]");
        let (first, last) = (table.timestamps.first().copied(), table.timestamps.last().copied());
        let figures = json!({
            "firstTimestamp": first.unwrap_or(0),
            "lastTimestamp": last.unwrap_or(0),
            "setCount": table.timestamps.len(),
            "series": table.columns.len(),
        });
        self.text(&format!(r#","dpsMeta":{figures}"#));
        if !table.columns.is_empty() {
            self.meta(table, sink)?;
        }
        self.text("}");
        sink.take(&mut self.out)
    }

    /// The rest of the answer.
    pub(crate) fn finish(mut self, echo: &Value) -> Vec<u8> {
        self.text(&format!(r#"],"query":{echo}}}"#));
        self.out
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// `[timestamp,value,…]` for each instant.
    fn rows(&mut self, table: &OutputTable<'_>, sink: &mut impl AnswerSink) -> Result<(), Gone> {
        let numbers = Numbers { has_nulls: false, fill: if table.nan_is_null { Fill::Null } else { Fill::Nan } };
        let mut columns: Vec<_> = table.columns.iter().map(|column| column.values.iter()).collect();
        let rows_a_piece = VALUES_A_PIECE.div_ceil(columns.len() + 1);
        for (position, timestamp) in table.timestamps.iter().enumerate() {
            self.text(if position > 0 { ",[" } else { "[" });
            integer(&mut self.out, *timestamp);
            for value in columns.iter_mut().filter_map(Iterator::next) {
                self.out.push(b',');
                numbers.float(&mut self.out, *value);
            }
            self.text("]");
            if position % rows_a_piece == rows_a_piece - 1 {
                sink.take(&mut self.out)?;
            }
        }
        Ok(())
    }

    /// What each column is.
    fn meta(&mut self, table: &OutputTable<'_>, sink: &mut impl AnswerSink) -> Result<(), Gone> {
        self.text(r#","meta":[{"index":0,"metrics":["timestamp"]}"#);
        for (index, column) in (1..).zip(&table.columns) {
            let tags: Map<String, Value> =
                column.common_tags.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
            let meta = json!({
                "index": index,
                "metrics": column.metrics,
                "commonTags": tags,
                "aggregatedTags": column.aggregate_tags,
            });
            self.text(&format!(",{meta}"));
            sink.take(&mut self.out)?;
        }
        self.text("]");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, collections::BTreeSet};

    use tidemark_query::expression::OutputColumn;

    use super::*;
    use crate::opentsdb::query_answer::Collected;

    fn written(table: &OutputTable<'_>) -> Value {
        let (mut sink, mut writer) = (Collected::default(), TableWriter::new());
        writer.table(table, &mut sink).unwrap();
        writer.table(table, &mut sink).unwrap();
        sink.0.extend(writer.finish(&json!({"name": null})));
        serde_json::from_slice(&sink.0).unwrap()
    }

    #[test]
    fn a_table_has_rows_and_says_what_its_columns_are() {
        let metrics = BTreeSet::from(["m".to_owned(), "n".to_owned()]);
        let (tags, keys) = ([("host".to_owned(), "a\"b".to_owned())], ["dc".to_owned()]);
        let column = |values: [f64; 2]| OutputColumn {
            metrics: &metrics,
            common_tags: &tags,
            aggregate_tags: &keys,
            values: Cow::Owned(values.to_vec()),
        };
        let columns = vec![column([1.0, f64::NAN]), column([2.5, f64::INFINITY])];
        let table = OutputTable { id: "e", alias: Some("x"), timestamps: &[1000, 2000], columns, nan_is_null: false };
        let meta = |index: u32| json!({"index": index, "metrics": ["m", "n"], "commonTags": {"host": "a\"b"}, "aggregatedTags": ["dc"]});
        let expected = json!({
            "id": "e",
            "alias": "x",
            "dps": [[1000, 1.0, 2.5], [2000, "NaN", "Infinity"]],
            "dpsMeta": {"firstTimestamp": 1000, "lastTimestamp": 2000, "setCount": 2, "series": 2},
            "meta": [{"index": 0, "metrics": ["timestamp"]}, meta(1), meta(2)],
        });
        assert_eq!(written(&table), json!({"outputs": [expected, expected], "query": {"name": null}}));
        let with_null = OutputTable { nan_is_null: true, ..table };
        assert_eq!(written(&with_null)["outputs"][0]["dps"][1], json!([2000, null, "Infinity"]));
    }

    #[test]
    fn a_table_of_nothing_has_no_columns_to_tell_of() {
        let table = OutputTable { id: "e", alias: None, timestamps: &[], columns: Vec::new(), nan_is_null: false };
        let figures = json!({"firstTimestamp": 0, "lastTimestamp": 0, "setCount": 0, "series": 0});
        assert_eq!(written(&table)["outputs"][1], json!({"id": "e", "dps": [], "dpsMeta": figures}));
    }

    #[test]
    fn long_tables_are_handed_over_in_pieces() {
        struct Counted(usize);
        impl AnswerSink for Counted {
            fn take(&mut self, out: &mut Vec<u8>) -> Result<(), Gone> {
                out.clear();
                self.0 += 1;
                if self.0 > 2 { Err(Gone) } else { Ok(()) }
            }
        }
        let timestamps: Vec<i64> = (0..3 * VALUES_A_PIECE as i64).collect();
        let (metrics, values) = (BTreeSet::new(), vec![0.0; timestamps.len()]);
        let column = OutputColumn { metrics: &metrics, common_tags: &[], aggregate_tags: &[], values: values.into() };
        let table =
            OutputTable { id: "e", alias: None, timestamps: &timestamps, columns: vec![column], nan_is_null: false };
        let mut sink = Counted(0);
        assert_eq!(TableWriter::new().table(&table, &mut sink), Err(Gone));
    }
}
