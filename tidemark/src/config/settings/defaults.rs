//! What every setting is where nobody sets it.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use tidemark_api::OperationMode;
use tidemark_tsdb::RollupInterval;

use super::{
    AgentSettings, AlertSettings, AuthSettings, BrokerUrl, DirectSettings, HttpSettings, JobFileSettings,
    LimitSettings, LogFormat, LogSettings, OpentsdbSettings, QueueSettings, RedisSettings, RetentionSettings, Role,
    RollupSettings, Settings, ShutdownSettings, WorkerSettings,
};
use crate::config::{Bytes, Span, StoreUrl};

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4242)),
            data: "./tidemark-data".into(),
            public_url: String::new(),
            roles: vec![Role::Api, Role::Worker, Role::Scheduler, Role::Agent],
            name: String::new(),
            broker: BrokerUrl::Embedded,
            store: StoreUrl::Embedded,
            redis: RedisSettings::default(),
            log: LogSettings::default(),
            opentsdb: OpentsdbSettings::default(),
            http: HttpSettings::default(),
            limits: LimitSettings::default(),
            rollups: RollupSettings::default(),
            retention: RetentionSettings::default(),
            queue: QueueSettings::default(),
            direct: DirectSettings::default(),
            auth: AuthSettings::default(),
            agent: AgentSettings::default(),
            alert: AlertSettings::default(),
            worker: WorkerSettings::default(),
            jobs: JobFileSettings::default(),
            collect: Vec::new(),
            shutdown: ShutdownSettings::default(),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for OpentsdbSettings {
    fn default() -> Self {
        Self {
            mode: OperationMode::ReadWrite,
            allow_delete: false,
            max_tags: 8,
            allow_specialchars: String::new(),
            auto_create_metrics: true,
            auto_create_tagks: true,
            auto_create_tagvs: true,
            cors_domains: Vec::new(),
            cors_headers: "Authorization, Content-Type, Accept, Origin, User-Agent, Cache-Control, X-Requested-With"
                .to_owned(),
            header_tag: String::new(),
            telnet_errors: true,
            timezone: "UTC".to_owned(),
            week_start: "sunday".to_owned(),
            align_first: false,
            rate_before_downsample: false,
            skip_unresolved: false,
            nan_as_null: false,
            rollups: ["1m", "10m", "1h", "1d"].map(str::to_owned).to_vec(),
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        Self {
            connections: 20_000,
            first_byte_timeout: seconds(300),
            head_timeout: seconds(5),
            body_timeout: seconds(15),
            body_rate: Bytes(1 << 10),
            body_total_timeout: seconds(600),
            body_bytes: Bytes(64 << 20),
            body_bytes_decoded: Bytes(64 << 20),
            body_bytes_in_flight: Bytes(256 << 20),
            response_timeout: seconds(30),
            keep_alive: seconds(75),
            telnet_writes_in_flight: 4,
            telnet_retry: seconds(60),
            series: 2_000_000,
            series_per_metric: 500_000,
            new_series_per_minute: 100_000,
            future: seconds(366 * 24 * 3_600),
            head_points: 25_000_000,
            tombstones: 10_000,
            queued_points: 2_000_000,
            merge_bytes: Bytes(64 << 20),
            queries: 16,
            queries_per_client: 100,
            query_wait: seconds(10),
            query_time: seconds(60),
            query_parts: 100,
            query_series: 1_000_000,
            query_points: 200_000_000,
            query_bytes: Bytes(1 << 30),
            query_result_points: 10_000_000,
            query_group_points: 50_000_000,
            results: 1_000_000,
        }
    }
}

impl Default for RollupSettings {
    fn default() -> Self {
        Self { intervals: vec![Span(RollupInterval::HOUR.length())] }
    }
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            prefix: "tidemark".to_owned(),
            username: String::new(),
            password: String::new(),
            password_file: PathBuf::new(),
            sentinel_username: String::new(),
            sentinel_password: String::new(),
            sentinel_password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            server_name: String::new(),
            wait_replicas: 0,
        }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            jobs_max: 2_000_000,
            bytes_max: Bytes(512 << 20),
            workflows_max: 1_000,
            lease: Span(Duration::from_secs(30)),
        }
    }
}

impl Default for DirectSettings {
    fn default() -> Self {
        Self { jobs_max: 8_192, bytes_max: Bytes(256 << 20) }
    }
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            host: String::new(),
            tags: BTreeMap::new(),
            interval: Span(Duration::from_secs(10)),
            collectors: PathBuf::new(),
            to: String::new(),
            token: String::new(),
            proxy: String::new(),
            spool: Bytes(256 << 20),
        }
    }
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self { rules: PathBuf::new() }
    }
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 16,
            total: 0,
            queues: Vec::new(),
            site: String::new(),
            rates: BTreeMap::new(),
            local_rates: BTreeMap::new(),
            kind_concurrency: BTreeMap::new(),
        }
    }
}

impl Default for JobFileSettings {
    fn default() -> Self {
        Self { folder: PathBuf::new(), folder_bytes: Bytes(32 << 30), keep: Span(Duration::from_secs(7 * 24 * 3_600)) }
    }
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self {
            requests: Span(Duration::from_secs(5)),
            jobs: Span(Duration::from_secs(10)),
            flush: Span(Duration::from_secs(10)),
        }
    }
}
