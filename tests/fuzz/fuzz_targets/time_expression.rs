//! Moments, lengths of time, time zones, and buckets of the calendar around such a moment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::plan;
use tidemark_query::{Downsample, Interval, Query, Source, SubQuery, parse_time, parse_time_zone};

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"];

fuzz_target!(|text: &str| {
    let (moment, bucket) = text.split_once('|').unwrap_or((text, "1dc-sum"));
    let zones = ZONES.into_iter().chain([moment]).filter_map(|name| parse_time_zone(name).ok());
    for zone in zones {
        for now in [0, 1_789_948_800_123, i64::MAX] {
            let Ok(time) = parse_time(moment, now, zone) else { continue };
            assert!(time >= 0, "{moment:?} is {time}");
            let Ok(downsample) = bucket.parse::<Downsample>() else { continue };
            let source = Source::Metric { name: "m".to_owned(), filters: Vec::new(), explicit_tags: false };
            let mut sub_query = SubQuery::new(downsample.function, source);
            sub_query.downsample = Some(downsample);
            let query = Query::new(time, time.saturating_add(86_400_000), vec![sub_query]);
            plan(&Query { time_zone: zone, ..query });
        }
    }
    if let Ok(interval) = text.parse::<Interval>() {
        assert_eq!(interval.to_string().parse::<Interval>(), Ok(interval), "{text:?}");
    }
    if let Ok(downsample) = text.parse::<Downsample>() {
        assert_eq!(downsample.to_string().parse::<Downsample>(), Ok(downsample), "{text:?}");
    }
});
