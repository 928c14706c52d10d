//! `opentsdb.allow_specialchars`: names with characters that mean something in queries, lines, files and pages, over all
//! ways in and out.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tidemark_tests::{Client, Connection, Node, NodeOptions, RedisServer, tidemark, wait_for};

const SETTING: &str = "TIDEMARK_OPENTSDB__ALLOW_SPECIALCHARS";
/// All printable ASCII that OpenTSDB refuses, and some of what is no letter elsewhere.
const SPECIAL: &str = " !\"#$%&'()*+,:;<=>?@[\\]^`{|}~°€";
const START_S: i64 = 1_767_225_600;
/// Metrics, tag keys and tag values that have every special character, and look like something else.
const NAMES: [(&str, &str, &str); 6] = [
    ("a:b", "disk%", "C:\\"),
    ("m{k=v}", "k,1", "x|y"),
    ("\"quoted\" #1", "k=2", " a b "),
    ("<script>alert('1')</script>", "?&;+", "regexp(a)*"),
    ("~!@$^`[]", "€", "21°C"),
    ("plain", "host", "../{a}?b&c=\"d\""),
];

fn options() -> NodeOptions {
    NodeOptions::without_agent().variable(SETTING, SPECIAL)
}

fn point(metric: &str, key: &str, value: &str, at: i64) -> Value {
    json!({"metric": metric, "timestamp": at, "value": 7, "tags": { key: value }})
}

fn put_all(client: &Client) {
    let points: Vec<Value> = NAMES.iter().map(|(metric, key, value)| point(metric, key, value, START_S)).collect();
    // A busy Redis may answer too late; sending points again is harmless.
    let answer = wait_for("the points are taken", Duration::from_secs(30), || {
        let answer = client.post("/api/put?sync&details", &json!(points));
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(answer.json(), json!({"success": NAMES.len(), "failed": 0, "errors": []}));
}

/// What JSON bodies can say, whatever the names.
fn asked(client: &Client, metric: &str, key: &str) -> Value {
    let filters = json!([{"type": "wildcard", "tagk": key, "filter": "*", "groupBy": true}]);
    let sub_query = json!({"aggregator": "sum", "metric": metric, "filters": filters});
    let answer = client.post("/api/query", &json!({"start": START_S, "end": START_S + 100, "queries": [sub_query]}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn has_all(client: &Client) {
    for (metric, key, value) in NAMES {
        let expect = json!([{
            "metric": metric,
            "tags": { key: value },
            "aggregateTags": [],
            "dps": { START_S.to_string(): 7 },
        }]);
        assert_eq!(asked(client, metric, key), expect, "{metric}");
    }
}

#[test]
fn what_json_brings_is_told_by_every_answer() {
    let node = Node::start(&options());
    let client = node.client();
    assert_eq!(client.get("/api/config").json()["tsd.core.tag.allow_specialchars"], SPECIAL);
    put_all(&client);
    has_all(&client);
    for (metric, key, value) in NAMES {
        for (kind, name) in [("metrics", metric), ("tagk", key), ("tagv", value)] {
            let names = client.get(&format!("/api/suggest?type={kind}&q={}", encoded(name))).json();
            assert_eq!(names[0], name, "{kind}: {names}");
        }
    }
    for (metric, key, value) in NAMES {
        let tag = json!([{"key": key, "value": "*"}]);
        let found = client.post("/api/search/lookup", &json!({"metric": metric, "tags": tag})).json();
        let series = &found["results"][0];
        assert_eq!((&series["metric"], &series["tags"]), (&json!(metric), &json!({ key: value })), "{found}");
        let tsuid = series["tsuid"].as_str().unwrap();
        let last = client.get(&format!("/api/query/last?tsuids={tsuid}&resolve")).json();
        assert_eq!((&last[0]["metric"], &last[0]["tags"]), (&json!(metric), &json!({ key: value })), "{last}");
        let range = format!("start={START_S}&end={}", START_S + 100);
        let query = client.get(&format!("/api/query?{range}&tsuid=sum:{tsuid}&show_query")).json();
        assert_eq!(query[0]["tags"], json!({ key: value }), "{query}");
        let lines = client.get(&format!("/q?{range}&tsuid=sum:{tsuid}&ascii")).text();
        assert_eq!(lines, format!("{metric} {START_S} 7 {key}={value}\n"));
        // Of what is written again and again one may ask: a name that JSON has comes back as it was.
        let again = client.post("/api/query/last", &json!({"queries": [{"tsuids": [tsuid]}], "resolveNames": true}));
        assert_eq!(again.json()[0]["metric"], metric);
    }
    // What `m=` can say it can ask for.
    let answer = client.get(&format!("/api/query?start={START_S}&m=none:plain%7Bhost=regexp(%5E%5C.%5C.)%7D"));
    assert_eq!(answer.json()[0]["tags"]["host"], NAMES[5].2, "{}", answer.text());
    let answer = client.get(&format!("/api/query?start={START_S}&m=none:~!@$%5E%60%5B%5D%7B%E2%82%AC=21%C2%B0C%7D"));
    assert_eq!(answer.json()[0]["metric"], NAMES[4].0, "{}", answer.text());
    let expression = json!({
        "time": {"start": START_S.to_string(), "end": (START_S + 100).to_string(), "aggregator": "sum"},
        "filters": [{"id": "f", "tags": [{"type": "wildcard", "tagk": "k,1", "filter": "*", "groupBy": true}]}],
        "metrics": [{"id": "a", "metric": "m{k=v}", "filter": "f"}],
        "expressions": [{"id": "e", "expr": "a * 2"}],
    });
    let answer = client.post("/api/query/exp", &expression).json();
    assert_eq!(answer["outputs"][0]["meta"][1]["commonTags"], json!({"k,1": "x|y"}), "{answer}");
}

#[test]
fn the_other_ways_in_take_them_and_say_what_they_cannot_carry() {
    let folder = tempfile::tempdir().unwrap();
    let collector = "#!/bin/sh\necho \"ext:a $(date +%s) 1 k%=a+b\"\n\
        echo '{\"metric\":\"ext {b}\",\"timestamp\":1767225600,\"value\":2,\"tags\":{\"k\":\"\\\\\"\"}}'\n\
        echo \"ext*no $(date +%s) 1 k=a\"\n";
    script(folder.path(), collector);
    let special = SPECIAL.replace('*', "");
    let collectors = folder.path().display().to_string();
    let node = NodeOptions::default().variable(SETTING, &special).variable("TIDEMARK_AGENT__COLLECTORS", &collectors);
    let node = Node::start(&node.variable("TIDEMARK_AGENT__HOST", "db(1)"));
    let client = node.client();

    let mut telnet = Connection::open(node.address());
    telnet.send(format!("put t:a {START_S} 7 k%=\"a\"|{{b}}\nput t:b {START_S} 7 k=a=b\nput t*c {START_S} 7 k=v\n"));
    assert_eq!(telnet.line(), "put: illegal argument: invalid tag: k=a=b");
    assert_eq!(telnet.line(), "put: illegal argument: Invalid metric name (\"t*c\"): illegal character: *");
    telnet.send(format!("rollup 1h-SUM t:a {START_S} 7 k%=v\nhistogram t:h {START_S} 0,1=5 k=a;b\nversion\n"));
    assert!(telnet.line().starts_with("net.opentsdb.tools"));
    wait_for("the line is stored", Duration::from_secs(10), || {
        (!client.post("/api/search/lookup", &json!({"metric": "t:h"})).text().contains("error")).then_some(())
    });
    assert_eq!(asked(&client, "t:a", "k%")[0]["tags"]["k%"], "\"a\"|{b}");

    let refused = client.post("/api/put?details", &json!([point("j*", "k", "v", START_S)]));
    let text = "Invalid metric name (\"j*\"): illegal character: *";
    assert_eq!(refused.json()["errors"][0]["error"], text);
    let rollup = json!({"metric": "r:1", "timestamp": START_S, "value": 1, "tags": {"k ": " "}, "interval": "1h", "aggregator": "SUM"});
    assert_eq!(client.post("/api/rollup?details", &rollup).json()["success"], 1);
    let histogram = json!({"metric": "h:1", "timestamp": START_S, "tags": {"k": "<v>"}, "buckets": {"0,1": 5}});
    assert_eq!(client.post("/api/histogram?details", &histogram).json()["success"], 1);
    let assigned = client.post("/api/uid/assign", &json!({"metric": ["u {1}"], "tagk": ["k*"], "tagv": ["\\"]}));
    assert!(assigned.json()["metric"]["u {1}"].is_string(), "{}", assigned.text());
    assert_eq!(assigned.json()["tagk_errors"], json!({"k*": "illegal character: *"}));
    assert!(assigned.json()["tagv"]["\\"].is_string());
    let about = json!([{"Metric": "j:m", "Name": "unit", "Value": "bytes"}, {"Metric": "j*m", "Name": "unit", "Value": "bytes"}]);
    assert_eq!(client.post("/api/metadata/put", &about).status, 204);
    assert_eq!(client.get("/api/metadata/get?metric=j:m").json()[0]["Value"], "bytes");
    assert_eq!(client.get("/api/metadata/get?metric=j*m").status, 404);

    // The agent brings what its collectors say, and its own host.
    let lookup = |metric: &str| {
        let found = client.post("/api/search/lookup", &json!({ "metric": metric })).json();
        found["results"][0]["tags"].as_object().map(|tags| json!(tags))
    };
    let external = wait_for("the collector's points", Duration::from_secs(30), || lookup("ext {b}"));
    assert_eq!(external, json!({"host": "db(1)", "k": "\""}));
    assert_eq!(lookup("ext:a"), Some(json!({"host": "db(1)", "k%": "a+b"})));
    assert_eq!(lookup("ext*no"), None);
    wait_for("the host is on its pages", Duration::from_secs(30), || {
        let hosts = client.get("/hosts").text();
        hosts.contains("/hosts/db%281%29").then_some(())
    });
    let page = client.get("/hosts/db%281%29");
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("os.cpu"), "{}", page.text());
}

fn script(folder: &Path, text: &str) {
    let folder = folder.join("1");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("special.sh");
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn pages_show_them_and_nothing_of_them_is_taken_for_markup() {
    let node = Node::start(&options());
    let client = node.client();
    put_all(&client);
    let hostile = "a\"><img src=x onerror=alert(1)>|*)}";
    let mut put = point("os.cpu", "host", hostile, now_s());
    put["tags"]["x"] = json!("</script>");
    assert_eq!(client.post("/api/put?sync", &put).status, 204);
    let encoded = encoded(hostile);
    let paths = [
        "/".to_owned(),
        "/hosts".to_owned(),
        format!("/hosts/{encoded}"),
        "/explore".to_owned(),
        "/explore?m=sum:%3Cscript%3Ealert('1')%3C/script%3E&from=2026/01/01&to=2026/01/02".to_owned(),
        format!("/explore?m=sum:plain%7Bhost=*%7D&from={START_S}&to={}", START_S + 100),
    ];
    for path in paths {
        let page = client.get(&path);
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        for markup in ["<img", "<script>alert", "onerror=alert(1)>"] {
            assert!(!page.text().contains(markup), "{path}: {}", page.text());
        }
    }
    let page = client.get(&format!("/hosts/{encoded}")).text();
    // The queries of the page's graphs are JSON.
    assert!(page.contains(r"regexp(^a\\x22\\x3e"), "{page}");
}

#[test]
fn lines_and_files_bring_them_back_as_they_were() {
    let (from, to) = (Node::start(&options()), Node::start(&options()));
    let offline = tempfile::tempdir().unwrap();
    put_all(&from.client());
    let folder = tempfile::tempdir().unwrap();
    for form in ["json", "csv"] {
        let file = folder.path().join(form).display().to_string();
        from.ok(&["export", "--format", form, "--to-file", &file]);
        to.ok(&["import", &file]);
        has_all(&to.client());
        let imported = tidemark()
            .args(["import", &file, "--data", &offline.path().display().to_string()])
            .env(SETTING, SPECIAL)
            .output()
            .unwrap();
        assert!(imported.status.success(), "{imported:?}");
    }
    has_all(&Node::start(&options().data(offline.path())).client());
    // Lines of OpenTSDB have no escapes: what they cannot say they do not say.
    let (code, out, error) = from.run(&["export", "--format", "opentsdb"]);
    assert!(code == Some(1) && out.is_empty(), "{out}");
    assert!(error.contains("which lines of OpenTSDB cannot say: choose `json` or `csv`"), "{error}");
    let lines = from.ok(&["export", "--format", "opentsdb", "a:b"]);
    assert_eq!(lines, format!("a:b {START_S}000 7 disk%=C:\\\n"));
    let file = folder.path().join("lines").display().to_string();
    fs::write(&file, format!("c:d {START_S} 7 k%=\"a\"=b\nc;no {START_S} 7 k=\u{a0}\n")).unwrap();
    let (code, _, error) = to.run(&["import", &file, "--format", "opentsdb"]);
    assert!(code == Some(1) && error.contains("line 2"), "{error}");
    assert_eq!(asked(&to.client(), "c:d", "k%")[0]["tags"]["k%"], "\"a\"=b");
    let table = from.ok(&["query", "sum:~!@$^`[]{€=*}", "--from", "2026/01/01", "--to", "2026/01/02", "-o", "csv"]);
    assert!(table.contains("\"~!@$^`[]{€=21°C}\",1767225600000,7"), "{table}");
}

#[test]
fn what_is_stored_is_read_when_they_are_allowed_no_more() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(&options().data(data.path()));
    put_all(&node.client());
    node.stop();
    let node = Node::start(&NodeOptions::without_agent().data(data.path()));
    has_all(&node.client());
    let answer = node.client().post("/api/put?details", &json!([point("a:b", "k", "v", START_S)]));
    assert_eq!(answer.json()["errors"][0]["error"], "Invalid metric name (\"a:b\"): illegal character: :");
    let backup = data.path().join("backup.tdm").display().to_string();
    node.ok(&["backup", "create", "--to", &backup]);
    node.ok(&["backup", "verify", &backup]);
    // And can be left behind, for one that is allowed.
    let client = node.client();
    let rename = |old: &str, new: &str| client.post("/api/uid/rename", &json!({"metric": old, "name": new}));
    assert_eq!(rename("a:b", "a.b").json(), json!({"result": "true"}));
    assert_eq!(asked(&client, "a.b", "disk%")[0]["tags"], json!({"disk%": "C:\\"}));
    let refused = rename("a.b", "a:b");
    assert_eq!((refused.status, &refused.json()["result"]), (400, &json!("false")));
}

#[test]
fn they_travel_through_redis() {
    let redis = RedisServer::start();
    let node = Node::start(&options().arguments(&["--broker", &redis.url()]));
    put_all(&node.client());
    has_all(&node.client());
}

#[test]
fn groups_that_differ_in_a_separator_have_incidents_of_their_own() {
    let rules = tempfile::tempdir().unwrap();
    let rule = "[[rule]]\nname = \"odd\"\nevery = \"1s\"\nmissing_metric = \"no_data\"\n\
        warn = 'last(q(\"sum:odd{a=*,b=*}\", \"5m\", \"\")) > 1'\n";
    fs::write(rules.path().join("odd.toml"), rule).unwrap();
    let node = Node::start(&options().variable("TIDEMARK_ALERT__RULES", &rules.path().display().to_string()));
    let client = node.client();
    let groups =
        [json!({"a": "1,b=2", "b": "3"}), json!({"a": "1", "b": "2,b=3"}), json!({"a": "{\"x\": \\", "b": " "})];
    for tags in &groups {
        let put = json!({"metric": "odd", "timestamp": now_s(), "value": 7, "tags": tags});
        assert_eq!(client.post("/api/put?sync", &put).status, 204);
    }
    wait_for("each group has its incident", Duration::from_secs(30), || {
        let open = client.get("/api/tidemark/v1/incidents?state=open").json();
        let open: Vec<Value> = open["incidents"].as_array()?.iter().map(|incident| incident["tags"].clone()).collect();
        (open.len() == groups.len() && groups.iter().all(|tags| open.contains(tags))).then_some(())
    });
    assert_eq!(client.get("/incidents").status, 200);
}

#[test]
fn what_can_be_in_no_name_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (characters, shown) in [("+\t", "\\u{9}"), ("\u{1}", "\\u{1}"), ("\u{2028}", "\\u{2028}")] {
        let options = NodeOptions::without_agent().variable(SETTING, characters);
        let (status, _, log) = Node::run_to_end(&options, folder.path());
        let expect = format!("setting opentsdb.allow_specialchars: `{shown}` can be in no name");
        assert!(!status.success() && log.contains(&expect), "{log}");
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn now_s() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    now.cast_signed()
}
