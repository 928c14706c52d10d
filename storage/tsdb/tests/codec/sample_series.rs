//! Series that look like those of a monitored host, from a seed: twenty metrics, of which the bursty byte counters and
//! the full-precision latency are harder to compress than most real ones.

use tidemark_model::{Value, ValueColumn};

/// What a series measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes of a network card or a disk: a counter whose rate jumps and whose every step is noisy.
    BurstyBytes,
    /// CPU time in ticks: a counter whose rate wanders.
    Ticks,
    /// Errors: a counter that mostly stands still.
    Errors,
    /// Memory in kB, in pages of 4.
    Memory,
    /// Load with two decimals.
    Load,
    /// A percentage with one decimal and the shape of a day.
    Percent,
    /// Milliseconds in full precision with a heavy tail.
    Latency,
    /// One number.
    Constant,
    /// A number that changes once in a thousand points.
    Build,
    /// Free bytes of a file system, in pages of 4096.
    DiskFree,
}

/// The kinds of the twenty metrics of a host.
pub(crate) const METRICS: [Kind; 20] = [
    Kind::BurstyBytes,
    Kind::BurstyBytes,
    Kind::BurstyBytes,
    Kind::BurstyBytes,
    Kind::Ticks,
    Kind::Ticks,
    Kind::Ticks,
    Kind::Ticks,
    Kind::Errors,
    Kind::Errors,
    Kind::Memory,
    Kind::Memory,
    Kind::Load,
    Kind::Percent,
    Kind::Percent,
    Kind::Latency,
    Kind::Constant,
    Kind::Constant,
    Kind::Build,
    Kind::DiskFree,
];

/// Seconds from point to point.
pub(crate) const INTERVAL_S: i64 = 15;

/// One series, point by point.
#[derive(Clone, Debug)]
pub(crate) struct SampleSeries {
    kind: Kind,
    random: Random,
    /// Its current number, or the digits of it.
    level: i64,
    /// How fast or how large it is.
    size: i64,
    /// Where its rate or its day stands.
    phase: f64,
    step: i64,
}

impl SampleSeries {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ kind as u64);
        random.below(2);
        let (level, size, phase) = match kind {
            Kind::BurstyBytes => (random.below(1_000_000_000_000), 200 + random.below(2_000_000), 1.0),
            Kind::Ticks => (random.below(500_000_000), 5 + random.below(90), 0.5),
            Kind::Errors => (random.below(10_000), 1 + random.below(40), 0.0),
            Kind::Memory => (4 * (100_000 + random.below(4_000_000)), 64_000_000, 0.0),
            Kind::Load => (random.below(400), 50 + random.below(400), 0.0),
            Kind::Percent => (0, 100 + random.below(500), random.below(86_400) as f64),
            Kind::Latency => (0, 0, 1.0 + random.below(1000) as f64 / 37.0),
            Kind::Constant => (65_806_024 + random.below(7), 0, 0.0),
            Kind::Build => (100 + random.below(900), 0, 0.0),
            Kind::DiskFree => (4096 * random.below(900_000_000), 0, 0.0),
        };
        Self { kind, random, level, size, phase, step: 0 }
    }

    pub(crate) fn next(&mut self) -> Value {
        self.step += 1;
        let unit = self.random.unit();
        match self.kind {
            Kind::BurstyBytes => {
                if self.random.below(32) == 0 {
                    self.phase = 0.1 + 4.0 * self.random.unit();
                }
                self.level += (self.size as f64 * self.phase * (0.6 + 0.8 * unit) * INTERVAL_S as f64) as i64;
            }
            Kind::Ticks => {
                self.phase = (self.phase + (unit - 0.5) * 0.1).clamp(0.02, 1.0);
                self.level += (self.size as f64 * self.phase * INTERVAL_S as f64) as i64;
            }
            Kind::Errors => {
                if self.random.below(64) <= self.size / 4 {
                    self.level += 1 + self.random.below(4);
                }
            }
            Kind::Memory => {
                if self.random.below(4) != 0 {
                    self.level = (self.level + 4 * (self.random.below(1024) - 512)).clamp(0, self.size);
                }
            }
            Kind::Load => {
                self.level = (self.level + (self.size - self.level) / 32 + self.random.below(32) - 15).max(0);
                return Value::Float(self.level as f64 / 100.0);
            }
            Kind::Percent => {
                let day = (self.step as f64 * INTERVAL_S as f64 + self.phase) * std::f64::consts::TAU / 86_400.0;
                let digits = self.size as f64 * (1.0 + 0.5 * day.sin()) + (unit - 0.5) * 40.0;
                return Value::Float((digits as i64).clamp(0, 1000) as f64 / 10.0);
            }
            Kind::Latency => {
                let tail = -(1.0 - unit).ln() * 0.3;
                return Value::Float(self.phase * (1.0 + tail + 0.05 * self.random.unit()));
            }
            Kind::Constant => {}
            Kind::Build => {
                if self.random.below(1000) == 0 {
                    self.level = 100 + self.random.below(900);
                }
            }
            Kind::DiskFree => {
                if self.random.below(2) == 0 {
                    self.level -= 4096 * self.random.below(256);
                }
                if self.random.below(5000) == 0 {
                    self.level += 4096 * 500_000;
                }
            }
        }
        Value::Int(self.level)
    }

    /// The next `count` values.
    pub(crate) fn column(&mut self, count: usize) -> ValueColumn {
        let mut column = ValueColumn::default();
        (0..count).for_each(|_| column.push(self.next()));
        column
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: i64) -> i64 {
        ((self.draw() >> 1) % limit.unsigned_abs()).cast_signed()
    }

    /// From 0 to below 1, with all 53 bits.
    fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
