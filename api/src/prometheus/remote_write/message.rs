//! `prometheus.WriteRequest`: series, each with labels and samples.

use tidemark_model::{PointBatch, PointBatchBuilder, PointError, PointRules, SeriesKey, TimestampMs, Value};

use super::wire_reader::{Field, WireError, WireReader};

/// The label that is the metric.
const METRIC: &str = "__name__";
/// Most labels of a series beside that one.
const LABELS_MAX: usize = 64;
/// Reasons that are told.
const REASONS_MAX: usize = 5;
/// Why a histogram is refused.
const NATIVE: &str = "native histograms are not kept; `send_native_histograms` must be false";
/// Characters of a series that are told.
const SERIES_SHOWN: usize = 200;

/// What a request brought.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The samples that can be stored.
    pub(crate) batch: PointBatch,
    /// How many samples never can.
    pub(crate) refused: usize,
    /// Why, of the first series that have such.
    pub(crate) reasons: Vec<String>,
    /// Samples that are no number or infinite, such as the marks of series that ended.
    pub(crate) dropped: usize,
}

/// Reads a request. Names may have every character that can be stored.
///
/// # Errors
/// When the message is damaged.
pub(crate) fn read(message: &[u8]) -> Result<Received, WireError> {
    let mut reading = Reading {
        builder: PointBatchBuilder::with_rules(PointRules { tags_max: LABELS_MAX, ..PointRules::LOOSE }),
        received: Received::default(),
    };
    let mut fields = WireReader::new(message);
    let mut labels = Vec::new();
    while let Some(field) = fields.next()? {
        if let (1, Field::Bytes(series)) = field {
            reading.series(series, &mut labels)?;
        }
    }
    Ok(Received { batch: reading.builder.finish(), ..reading.received })
}

struct Reading {
    builder: PointBatchBuilder,
    received: Received,
}

impl Reading {
    /// Labels come first in what everybody sends, but need not: they are looked for before samples are.
    fn series<'a>(&mut self, series: &'a [u8], labels: &mut Vec<(&'a str, &'a str)>) -> Result<(), WireError> {
        labels.clear();
        let (mut metric, mut wrong, mut is_told) = ("", None, false);
        let mut fields = WireReader::new(series);
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Bytes(label)) => match read_label(label)? {
                    Ok((METRIC, value)) => metric = value,
                    // As good as absent.
                    Ok((_, "")) => {}
                    Ok(_) if labels.len() == LABELS_MAX => {
                        wrong = Some(format!("it has more than {LABELS_MAX} labels"))
                    }
                    Ok(label) => labels.push(label),
                    Err(reason) => wrong = Some(reason.to_owned()),
                },
                (4, Field::Bytes(_)) => {
                    self.refuse(&mut is_told, metric, labels, NATIVE);
                }
                _ => {}
            }
        }
        let mut wrong = wrong.or_else(|| metric.is_empty().then(|| format!("it has no label `{METRIC}`")));
        let mut is_last_series = false;
        let mut fields = WireReader::new(series);
        while let Some(field) = fields.next()? {
            let (2, Field::Bytes(sample)) = field else { continue };
            let (timestamp, value) = read_sample(sample)?;
            if let Some(reason) = &wrong {
                self.refuse(&mut is_told, metric, labels, reason);
                continue;
            }
            if !value.is_finite() {
                self.received.dropped += 1;
                continue;
            }
            let pushed = match is_last_series {
                true => self.builder.push_with_last_tags(metric, timestamp, Value::Float(value)).unwrap_or(Ok(())),
                false => self.builder.push(metric, labels, timestamp, Value::Float(value)),
            };
            match pushed {
                Ok(()) => is_last_series = true,
                // The next sample may have another time.
                Err(error @ PointError::Timestamp(_)) => {
                    self.refuse(&mut is_told, metric, labels, &error.to_string());
                }
                // The names are what they are, and long to check.
                Err(error) => {
                    self.refuse(&mut is_told, metric, labels, &error.to_string());
                    wrong = Some(error.to_string());
                }
            }
        }
        Ok(())
    }

    /// Counts a sample. A series is told once: its name may be long, and its samples many.
    fn refuse(&mut self, is_told: &mut bool, metric: &str, labels: &[(&str, &str)], reason: &str) {
        self.received.refused += 1;
        if self.received.reasons.len() < REASONS_MAX && !std::mem::replace(is_told, true) {
            let series: String = SeriesKey::new(metric, labels).to_string().chars().take(SERIES_SHOWN).collect();
            self.received.reasons.push(format!("{series}: {reason}"));
        }
    }
}

/// A name and a value, or why it is no label.
fn read_label(label: &[u8]) -> Result<Result<(&str, &str), &'static str>, WireError> {
    let (mut name, mut value) = (&b""[..], &b""[..]);
    let mut fields = WireReader::new(label);
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Bytes(bytes)) => name = bytes,
            (2, Field::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok(match (std::str::from_utf8(name), std::str::from_utf8(value)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err("a label is no UTF-8"),
    })
}

fn read_sample(sample: &[u8]) -> Result<(TimestampMs, f64), WireError> {
    let (mut timestamp, mut value) = (0, 0.0);
    let mut fields = WireReader::new(sample);
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Fixed64(bytes)) => value = f64::from_le_bytes(bytes),
            (2, Field::Varint(bits)) => timestamp = bits.cast_signed(),
            _ => {}
        }
    }
    Ok((timestamp, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        varint(bytes.len() as u64, &mut out);
        out.extend(bytes);
        out
    }

    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn label(name: &str, value: &str) -> Vec<u8> {
        field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
    }

    fn sample(timestamp: i64, value: f64) -> Vec<u8> {
        let mut bytes = vec![1 << 3 | 1];
        bytes.extend(value.to_le_bytes());
        bytes.push(2 << 3);
        varint(timestamp.cast_unsigned(), &mut bytes);
        field(2, &bytes)
    }

    fn series(parts: &[Vec<u8>]) -> Vec<u8> {
        field(1, &parts.concat())
    }

    fn points(received: &Received) -> Vec<String> {
        let batch = &received.batch;
        let show = |point: tidemark_model::PointRef| {
            format!("{} {} {}", batch.series_key(point.series), point.timestamp, point.value)
        };
        batch.points().map(show).collect()
    }

    const AT: i64 = 1_767_225_600_123;

    #[test]
    fn samples_are_points_of_series_whatever_their_names() {
        let up = [label(METRIC, "job:up:sum"), label("job", "a \"b\" {c}"), label("empty", "")];
        let message = [
            series(&[up.concat(), sample(AT, 1.5), sample(AT + 1, -0.0)]),
            // Labels behind samples, and something that nobody knows.
            series(&[sample(AT, 2.0), label("host", "x"), label(METRIC, "up"), field(9, b"?")]),
            field(3, b"metadata"),
        ];
        let received = read(&message.concat()).unwrap();
        let expect = [
            format!("job:up:sum{{job=a \"b\" {{c}}}} {AT} 1.5"),
            format!("job:up:sum{{job=a \"b\" {{c}}}} {} -0", AT + 1),
            format!("up{{host=x}} {AT} 2"),
        ];
        assert_eq!((points(&received), received.refused, received.dropped), (expect.to_vec(), 0, 0));
    }

    #[test]
    fn what_can_never_be_stored_is_told_apart_from_what_is_no_number() {
        let good = || [label(METRIC, "m"), label("a", "b")].concat();
        let stale = f64::from_bits(0x7FF0_0000_0000_0002);
        let many: Vec<_> = (0..65).map(|number| label(&format!("l{number}"), "x")).collect();
        let message = [
            series(&[good(), sample(AT, stale), sample(AT, f64::INFINITY), sample(AT, 1.0)]),
            series(&[good(), sample(0, 1.0), sample(-5, 1.0)]),
            series(&[label("a", "b"), sample(AT, 1.0)]),
            series(&[label(METRIC, "alone"), sample(AT, 1.0)]),
            series(&[good(), label("a", "c"), sample(AT, 1.0), sample(AT, 1.0)]),
            series(&[good(), label("n", "line\nbreak"), sample(AT, 1.0)]),
            series(&[good(), many.concat(), sample(AT, 1.0)]),
            series(&[good(), field(4, b"")]),
        ];
        let received = read(&message.concat()).unwrap();
        assert_eq!(points(&received), [format!("m{{a=b}} {AT} 1")]);
        assert_eq!((received.refused, received.dropped), (9, 2));
        assert_eq!(received.reasons.len(), REASONS_MAX);
        let text = received.reasons.join("\n");
        for part in ["m{a=b}: timestamp 0 is not", "{a=b}: it has no label `__name__`", "alone{}: missing tags"] {
            assert!(text.contains(part), "{text}");
        }
        let reasons = |part: Vec<u8>| read(&part).unwrap().reasons.join("\n");
        assert!(reasons(message[4].clone()).contains("two values"));
        assert!(reasons(message[5].clone()).contains("illegal character"));
        assert!(reasons(message[6].clone()).contains("more than 64 labels"));
        assert!(reasons(message[7].clone()).contains("native histograms"));
    }

    /// Whoever copied the names for each sample would be at it for minutes.
    #[test]
    fn a_long_name_of_many_bad_samples_is_looked_at_once() {
        let long = "x".repeat(1 << 20);
        let samples = field(2, b"").repeat(300_000);
        for label in [label("long", &long), label("bad\n", &long)] {
            let message = series(&[self::label(METRIC, "m"), label, samples.clone()]);
            let received = read(&message).unwrap();
            assert_eq!((received.refused, received.reasons.len()), (300_000, 1));
            let dated = [self::label(METRIC, "m"), self::label("long", &long), sample(AT, 1.0).repeat(50_000)];
            assert_eq!(read(&series(&dated)).unwrap().refused, 50_000);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _unused = (read(&bytes).is_ok(), read(&series(std::slice::from_ref(&bytes))).is_ok());
            let _unused = read(&series(&[field(1, &bytes), field(2, &bytes)])).is_ok();
        }
    }
}
